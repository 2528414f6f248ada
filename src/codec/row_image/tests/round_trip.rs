//! Random schemas and values: what is written is what is read, by every way of reading.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{Date, DateTime, ImageWriter, Plan, Time, Timestamp};
use super::*;

fn date() -> impl Strategy<Value = Date> {
    (0..=9999_u16, 0..=12_u8, 0..=31_u8).prop_map(|(year, month, day)| Date { year, month, day })
}

/// Microseconds of a column's precision.
fn micros(fsp: u8) -> impl Strategy<Value = u32> {
    let unit = 10_u32.pow(u32::from(6 - fsp));
    (0..1_000_000 / unit).prop_map(move |units| units * unit)
}

fn one<V: std::fmt::Debug + Clone + 'static>(
    ty: ColumnType,
    values: impl Strategy<Value = V> + 'static,
    wrap: fn(V) -> Value,
) -> BoxedStrategy<(ColumnType, Value)> {
    values.prop_map(move |value| (ty.clone(), wrap(value))).boxed()
}

fn integer(width: IntWidth) -> BoxedStrategy<(ColumnType, Value)> {
    let spare = 64 - 8 * u32::try_from(width.bytes()).unwrap();
    prop_oneof![
        one(ColumnType::Int { width, unsigned: false }, any::<i64>().prop_map(move |value| value >> spare), Value::Int),
        one(ColumnType::Int { width, unsigned: true }, any::<u64>().prop_map(move |value| value >> spare), Value::Uint),
    ]
    .boxed()
}

fn decimal() -> impl Strategy<Value = (ColumnType, Value)> {
    (1..=65_u8, 0..=38_u8, any::<bool>(), vec(0..10_u8, 65)).prop_map(|(precision, scale, negative, digits)| {
        let scale = scale.min(precision);
        let digit = |digit: &u8| char::from(b'0' + digit);
        let (whole, rest) = digits.split_at(usize::from(precision - scale));
        let whole: String = whole.iter().map(digit).collect();
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            whole => whole,
        };
        let mut text = whole.to_owned();
        if scale > 0 {
            text.push('.');
            text.extend(rest[..usize::from(scale)].iter().map(digit));
        }
        if negative && text.contains(|c: char| c.is_ascii_digit() && c != '0') {
            text.insert(0, '-');
        }
        (ColumnType::Decimal { precision, scale }, Value::Decimal(text))
    })
}

fn temporal(fsp: u8) -> BoxedStrategy<(ColumnType, Value)> {
    let clock = || (0..60_u8, 0..60_u8, micros(fsp));
    prop_oneof![
        one(
            ColumnType::Time { fsp },
            (any::<bool>(), 0..=838_u16, clock()).prop_map(move |(negative, hours, (minutes, seconds, micros))| Time {
                negative: negative && (hours, minutes, seconds, micros) != (0, 0, 0, 0),
                hours,
                minutes,
                seconds,
                micros,
                fsp
            }),
            Value::Time
        ),
        one(
            ColumnType::DateTime { fsp },
            (date(), 0..24_u8, clock()).prop_map(move |(date, hour, (minute, second, micros))| {
                DateTime { date, hour, minute, second, micros, fsp }
            }),
            Value::DateTime
        ),
        one(
            ColumnType::Timestamp { fsp },
            (any::<u32>(), micros(fsp)).prop_map(move |(seconds, micros)| Timestamp { seconds, micros, fsp }),
            Value::Timestamp
        ),
    ]
    .boxed()
}

fn text(value: String) -> Value {
    let bytes = value.clone().into_bytes();
    Value::Text(value, bytes)
}

fn string() -> BoxedStrategy<(ColumnType, Value)> {
    let utf8 = || Charset::new("utf8mb4");
    let short = "[a-z \u{e9}\u{65e5}]{0,20}";
    prop_oneof![
        one(varchar(80, "utf8mb4"), short, text),
        one(varchar(700, "utf8mb4"), "[a-z ]{0,600}", text),
        one(
            ColumnType::Char { max_bytes: 80, charset: utf8() },
            short.prop_map(|value| value.trim_end_matches(' ').to_owned()),
            text
        ),
        (1..=4_u8).prop_flat_map(move |length_bytes| one(
            ColumnType::Text { length_bytes, charset: utf8() },
            short,
            text
        )),
        (1..=4_u8).prop_flat_map(|length_bytes| one(
            ColumnType::Blob { length_bytes },
            vec(any::<u8>(), 0..200),
            Value::Bytes
        )),
        one(ColumnType::VarBinary { max_bytes: 300 }, vec(any::<u8>(), 0..300), Value::Bytes),
        (1..400_u16).prop_flat_map(|length| one(
            ColumnType::Binary { length },
            vec(prop_oneof![Just(0), any::<u8>()], usize::from(length)),
            Value::Bytes
        )),
        one(ColumnType::Geometry, vec(any::<u8>(), 0..40), Value::Geometry),
        one(ColumnType::Uuid, vec(prop_oneof![Just(0), any::<u8>()], 16), Value::Address),
        one(ColumnType::Inet6, vec(prop_oneof![Just(0), any::<u8>()], 16), Value::Address),
        one(ColumnType::Inet4, vec(prop_oneof![Just(0), any::<u8>()], 4), Value::Address),
        one(ColumnType::Vector, vec(any::<[u8; 4]>(), 0..9).prop_map(|floats| floats.concat()), Value::Vector),
        one(ColumnType::Json, "[ -~]{0,40}", Value::Json),
    ]
    .boxed()
}

fn labelled() -> BoxedStrategy<(ColumnType, Value)> {
    let labels = |count: usize| (1..=count).map(|n| format!("m{n}")).collect::<Vec<_>>();
    prop_oneof![
        (1..=300_u16).prop_flat_map(|count| (Just(count), 0..=count)).prop_map(move |(count, ordinal)| {
            let members = labels(count.into());
            let label = match ordinal.checked_sub(1) {
                Some(index) => members[usize::from(index)].clone(),
                None => String::new(),
            };
            (ColumnType::Enum { members }, Value::Enum(ordinal, label))
        }),
        (1..=64_usize, any::<u64>()).prop_map(move |(count, mask)| (
            ColumnType::Set { members: labels(count) },
            Value::Set(mask >> (64 - count))
        )),
        (1..=64_u8, any::<u64>()).prop_map(|(bits, mask)| (ColumnType::Bit { bits }, Value::Bit(mask >> (64 - bits)))),
    ]
    .boxed()
}

fn cell() -> impl Strategy<Value = (ColumnType, Value)> {
    let value = prop_oneof![
        prop_oneof![
            integer(IntWidth::W1),
            integer(IntWidth::W2),
            integer(IntWidth::W3),
            integer(IntWidth::W4),
            integer(IntWidth::W8)
        ],
        one(ColumnType::Float, proptest::num::f32::NORMAL.prop_map(f32::to_bits), Value::Float),
        one(ColumnType::Double, proptest::num::f64::NORMAL.prop_map(f64::to_bits), Value::Double),
        decimal(),
        one(ColumnType::Year, prop_oneof![Just(0), 1901..=2155_u16], Value::Year),
        one(ColumnType::Date, date(), Value::Date),
        (0..=6_u8).prop_flat_map(temporal),
        string(),
        labelled(),
    ];
    (value, proptest::bool::weighted(0.2)).prop_map(|((ty, value), null)| {
        let value = if null { Value::Null } else { value };
        (ty, value)
    })
}

fn written(schema: &TableSchema, values: &[Value]) -> Vec<u8> {
    let mut image = Vec::new();
    let writer = ImageWriter::new(schema).unwrap();
    let mut row = writer.row(&mut image);
    for value in values {
        value.write(&mut row).unwrap();
    }
    assert_eq!(row.finish().unwrap(), image.len());
    image
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        cells in vec(cell(), 1..90),
        wanted in vec(any::<bool>(), 90),
        tail in vec(any::<u8>(), 0..20),
    ) {
        let (types, values): (Vec<_>, Vec<_>) = cells.into_iter().unzip();
        let schema = table(types);
        let image = written(&schema, &values);
        let plan = Plan::all(&schema).unwrap();
        prop_assert_eq!(&read_all(&plan, &image), &values);
        prop_assert_eq!(plan.image_len(&image), Ok(image.len()));

        // Whatever follows does not matter to the first image.
        let mut body = image.clone();
        body.extend_from_slice(&tail);
        prop_assert_eq!(plan.image_len(&body), Ok(image.len()));
        let mut collect = Collect::default();
        prop_assert_eq!(plan.read(&body, &mut collect), Ok(image.len()));

        // A plan of some columns visits just those.
        let wanted = &wanted[..values.len()];
        let some = Plan::compile(&schema, wanted).unwrap();
        let mut collect = Collect::default();
        prop_assert_eq!(some.read(&image, &mut collect), Ok(image.len()));
        let expected: Vec<_> = values
            .iter()
            .cloned()
            .enumerate()
            .filter(|(column, _)| wanted[*column])
            .collect();
        prop_assert_eq!(collect.values, expected);

        // Nothing shorter is an image.
        for short in 0..image.len() {
            prop_assert!(plan.image_len(&image[..short]).is_err());
            prop_assert!(plan.read(&image[..short], &mut Collect::default()).is_err());
        }
        prop_assert_eq!(plan.count_rows(&[&*image, &*image].concat(), 2), Ok(1));
    }

    #[test]
    fn a_decimals_three_forms_are_one_number(cell in decimal()) {
        let (ty, value) = cell;
        let Value::Decimal(text) = value.clone() else { unreachable!() };
        let schema = table(vec![ty.clone()]);
        let image = written(&schema, &[value]);
        let ColumnType::Decimal { precision, scale } = ty else { unreachable!() };
        let decimal = super::super::Decimal::new(&image[1..], precision, scale).unwrap();
        let digits: String = text.chars().filter(|c| *c != '.').collect();
        let wide = decimal.unscaled_le_bytes();
        if precision <= 38 {
            let number: i128 = digits.parse().unwrap();
            prop_assert_eq!(decimal.unscaled_i128(), Some(number));
            prop_assert_eq!(&wide[..16], &number.to_le_bytes()[..]);
            let fill = if number < 0 { 0xff } else { 0 };
            prop_assert_eq!(&wide[16..], &[fill; 16][..]);
        } else {
            prop_assert_eq!(decimal.unscaled_i128(), None);
            prop_assert_eq!(signed_decimal(&wide), digits.trim_start_matches('0').replace("-0", "-"));
        }
        prop_assert_eq!(decimal.is_negative(), text.starts_with('-'));
    }
}

/// A 256-bit two's complement number in decimal, by long division, without leading zeros; zero is empty.
fn signed_decimal(bytes: &[u8; 32]) -> String {
    let negative = bytes[31] & 0x80 != 0;
    let mut magnitude = *bytes;
    if negative {
        let mut carry = 1_u16;
        for byte in &mut magnitude {
            carry += u16::from(!*byte);
            *byte = u8::try_from(carry & 0xff).unwrap();
            carry >>= 8;
        }
    }
    let mut digits = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u16;
        for byte in magnitude.iter_mut().rev() {
            let wide = rest << 8 | u16::from(*byte);
            *byte = u8::try_from(wide / 10).unwrap();
            rest = wide % 10;
        }
        digits.push(char::from(b'0' + u8::try_from(rest).unwrap()));
    }
    if negative {
        digits.push('-');
    }
    digits.iter().rev().collect()
}
