//! Random tables and rows: what is encoded reads as the text that the row was made from.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Encoder, Scratch};
use crate::model::{Charset, ColumnType, IntWidth};
use crate::sink::clickhouse::row_binary::{TYPES, VALUES, column, images, key, read_rows, schema, varchar};
use crate::sink::clickhouse::types::target_type;
use crate::sink::layout::Place;

/// A type, a value as the text protocol has it, and the value as the reader shows it.
type Cell = (ColumnType, String, String);

/// Days since the epoch, counted one year and one month at a time.
fn days(year: u16, month: u8, day: u8) -> i64 {
    let leap = |year: u16| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let of_year = |year: u16| if leap(year) { 366 } else { 365 };
    let months = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before: i64 = (0..year).map(of_year).sum();
    let epoch: i64 = (0..1970).map(of_year).sum();
    let in_year: i64 = months.iter().take(usize::from(month) - 1).sum();
    before - epoch + in_year + i64::from(day) - 1
}

fn integer() -> impl Strategy<Value = Cell> {
    let widths = prop::sample::select(vec![IntWidth::W1, IntWidth::W2, IntWidth::W3, IntWidth::W4, IntWidth::W8]);
    (widths, any::<u64>(), any::<bool>()).prop_map(|(width, bits, unsigned)| {
        let spare = 64 - 8 * u32::try_from(width.bytes()).unwrap();
        let text = if unsigned {
            (bits >> spare).to_string()
        } else {
            (i64::from_le_bytes(bits.to_le_bytes()) >> spare).to_string()
        };
        (ColumnType::Int { width, unsigned }, text.clone(), text)
    })
}

fn decimal() -> impl Strategy<Value = Cell> {
    (1..=65_u8, 0..=38_u8, any::<bool>(), vec(0..10_u8, 65)).prop_map(|(precision, scale, negative, digits)| {
        let scale = scale.min(precision);
        let digits: String = digits.iter().take(precision.into()).map(|digit| char::from(b'0' + digit)).collect();
        let (whole, fraction) = digits.split_at(usize::from(precision - scale));
        let whole = whole.trim_start_matches('0');
        let sign = if negative && digits.contains(|digit| digit != '0') { "-" } else { "" };
        let point = if scale > 0 { "." } else { "" };
        let text = format!("{sign}{}{point}{fraction}", if whole.is_empty() { "0" } else { whole });
        (ColumnType::Decimal { precision, scale }, text.clone(), text)
    })
}

fn temporal() -> impl Strategy<Value = Cell> {
    let date = (0..=9999_u16, 1..=12_u8, 1..=28_u8);
    let clock = (0..24_u8, 0..60_u8, 0..60_u8, 0..1_000_000_u32, 0..=6_u8);
    (date, clock, 0..=838_u16, any::<bool>(), 0..3_u8).prop_map(
        |((year, month, day), (hour, minute, second, micros, fsp), hours, negative, kind)| {
            let a_tick = 10_u32.pow(6 - u32::from(fsp));
            let ticks = i64::from(micros / a_tick);
            let a_second = 10_i64.pow(fsp.into());
            let fraction = if fsp == 0 { String::new() } else { format!(".{ticks:0width$}", width = fsp.into()) };
            let minutes = i64::from(minute) * 60 + i64::from(second);
            match kind {
                0 => {
                    let text = format!("{year:04}-{month:02}-{day:02}");
                    (ColumnType::Date, text, days(year, month, day).to_string())
                }
                1 => {
                    let text = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}");
                    let seconds = days(year, month, day) * 86_400 + i64::from(hour) * 3600 + minutes;
                    (ColumnType::DateTime { fsp }, text, (seconds * a_second + ticks).to_string())
                }
                _ => {
                    let span = (i64::from(hours) * 3600 + minutes) * a_second + ticks;
                    let (sign, span) = if negative && span != 0 { ("-", -span) } else { ("", span) };
                    let text = format!("{sign}{hours:02}:{minute:02}:{second:02}{fraction}");
                    (ColumnType::Time { fsp }, text, span.to_string())
                }
            }
        },
    )
}

fn textual() -> impl Strategy<Value = Cell> {
    let text = "[a-z \u{e9}\u{65e5}]{0,40}".prop_map(|text| text.trim_end().to_owned());
    (text, "[a-z]{0,600}", 0..5_u8).prop_map(|(short, long, kind)| {
        let utf8 = || Charset::new("utf8mb4");
        let (ty, text) = match kind {
            0 => (varchar("utf8mb4"), short),
            1 => (ColumnType::Char { max_bytes: 200, charset: utf8() }, short),
            2 => (ColumnType::Text { length_bytes: 4, charset: utf8() }, long),
            3 => (ColumnType::Blob { length_bytes: 2 }, long),
            _ => (ColumnType::Json, format!("\"{long}\"")),
        };
        let shown = format!("'{text}'");
        (ty, text, shown)
    })
}

fn float() -> impl Strategy<Value = Cell> {
    any::<f64>().prop_filter("the servers store finite numbers", |number| number.is_finite()).prop_map(|number| {
        let text = format!("{number:?}");
        (ColumnType::Double, text.clone(), text)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_reads_as_the_row_was(
        cells in vec((prop_oneof![integer(), decimal(), temporal(), textual(), float()], 0..3_u8), 1..30),
        in_key in any::<prop::sample::Index>(),
    ) {
        let in_key = in_key.index(cells.len());
        let mut columns = Vec::new();
        let (mut values, mut shown, mut shown_key) = (Vec::new(), Vec::new(), Vec::new());
        for (place, ((ty, text, value), nullness)) in cells.iter().enumerate() {
            let nullable = *nullness > 0 && place != in_key;
            columns.push(column(&format!("c{place}"), ty.clone(), nullable));
            let null = nullable && *nullness == 2;
            values.push(if null { "~" } else { text.as_str() });
            shown.push(if null { "NULL".to_owned() } else { value.clone() });
            if place == in_key {
                shown_key.push(value.clone());
            }
        }
        let table = schema(columns, key(&[u16::try_from(in_key).unwrap()]));
        let types: Vec<_> = table
            .columns
            .iter()
            .map(|column| target_type(&table.name, column, TYPES, Place::Plain).unwrap())
            .collect();
        let list: Vec<_> = types.iter().enumerate().map(|(place, ty)| (place, ty.as_str())).collect();
        let encoder = Encoder::new(&table, &list, &[in_key], VALUES).unwrap();
        let image = images(&table, &[&values]);

        let mut out = Vec::new();
        prop_assert_eq!(encoder.encode(&image, &mut out, &mut Scratch::default()).unwrap(), image.len());
        prop_assert_eq!(read_rows(&types, &out), [shown.join(";")]);

        out.clear();
        prop_assert_eq!(encoder.encode_key(&image, &mut out, &mut Scratch::default()).unwrap(), image.len());
        let tombstone = read_rows(&types, &out);
        prop_assert_eq!(tombstone.len(), 1);
        let of_key = tombstone[0].split(';').nth(in_key).map(str::to_owned);
        prop_assert_eq!(of_key.as_slice(), shown_key.as_slice());
    }
}
