use super::super::ColumnDefault;
use super::*;

fn column(ty: ColumnType, attributes: Option<Attributes>) -> Column {
    Column { name: "c".into(), ty, nullable: true, default: ColumnDefault::Unknown, attributes, collation: None }
}

fn int(width: IntWidth, unsigned: bool) -> ColumnType {
    ColumnType::Int { width, unsigned }
}

fn plain() -> Attributes {
    Attributes::default()
}

fn generated(expression: &str) -> Attributes {
    Attributes { generated: Some(expression.to_owned()), ..plain() }
}

#[test]
fn text_is_the_same_only_when_it_grows_in_the_same_charset_and_gets_no_padding() {
    let var = |max_bytes, charset: &str| ColumnType::VarChar { max_bytes, charset: Charset::new(charset) };
    let char = |max_bytes, charset: &str| ColumnType::Char { max_bytes, charset: Charset::new(charset) };
    let text = |charset: &str| ColumnType::Text { length_bytes: 2, charset: Charset::new(charset) };
    for (old, new, expected) in [
        (var(10, "utf8mb4"), var(20, "utf8mb4"), Kept::Same),
        (char(10, "utf8mb4"), var(10, "utf8mb4"), Kept::Same),
        (var(10, "utf8mb4"), text("utf8mb4"), Kept::Same),
        (char(10, "latin1"), char(12, "latin1"), Kept::Same),
        (var(20, "utf8mb4"), var(10, "utf8mb4"), Kept::Unknown),
        (var(10, "utf8mb4"), char(10, "utf8mb4"), Kept::Unknown),
        (text("utf8mb4"), var(u16::MAX, "utf8mb4"), Kept::Unknown),
        (var(10, "latin1"), var(40, "utf8mb4"), Kept::Convert(Conversion::Retype)),
        (var(40, "utf8mb4"), var(40, "latin1"), Kept::Unknown),
    ] {
        assert_eq!(kept_types(&old, &new), expected, "{old:?} to {new:?}");
    }
}

#[test]
fn numbers_are_the_same_only_under_a_type_that_holds_all_of_them() {
    let decimal = |precision, scale| ColumnType::Decimal { precision, scale };
    for (old, new, same) in [
        (int(IntWidth::W4, false), int(IntWidth::W8, false), true),
        (int(IntWidth::W4, true), int(IntWidth::W8, true), true),
        (int(IntWidth::W8, false), int(IntWidth::W4, false), false),
        (int(IntWidth::W4, true), int(IntWidth::W8, false), false),
        (int(IntWidth::W4, false), int(IntWidth::W8, true), false),
        (decimal(10, 2), decimal(12, 2), true),
        (decimal(10, 2), decimal(12, 4), false),
        (decimal(10, 2), decimal(10, 1), false),
        (ColumnType::Float, ColumnType::Double, false),
        (ColumnType::DateTime { fsp: 0 }, ColumnType::DateTime { fsp: 3 }, false),
        (ColumnType::DateTime { fsp: 0 }, ColumnType::Timestamp { fsp: 0 }, false),
        (ColumnType::Binary { length: 3 }, ColumnType::Binary { length: 5 }, false),
    ] {
        assert_eq!(kept_types(&old, &new) == Kept::Same, same, "{old:?} to {new:?}");
    }
}

#[test]
fn labels_stay_where_more_come_after_them() {
    let members = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
    let of = |labels: &[&str]| ColumnType::Enum { members: members(labels) };
    assert_eq!(kept_types(&of(&["a", "b"]), &of(&["a", "b", "c"])), Kept::Same);
    assert_eq!(kept_types(&of(&["a", "b"]), &of(&["b", "a"])), Kept::Unknown);
    assert_eq!(kept_types(&of(&["a", "b"]), &of(&["a"])), Kept::Unknown);
}

#[test]
fn attributes_decide_where_the_type_stays() {
    let (double, number) = (ColumnType::Double, int(IntWidth::W4, false));
    let rounded = |digits| Attributes { digits: Some(digits), ..plain() };
    let unsigned = || Attributes { unsigned: true, ..plain() };
    let counted = || Attributes { auto_increment: true, ..plain() };
    for (ty, old, new, same) in [
        (&number, plain(), plain(), true),
        (&number, plain(), generated("a + 1"), false),
        (&number, generated("a + 1"), plain(), false),
        (&number, generated("a + 1"), generated("a + 2"), false),
        (&number, generated("a + 1"), generated("a + 1"), true),
        (&number, plain(), counted(), false),
        (&number, counted(), plain(), true),
        (&number, counted(), counted(), true),
        (&double, plain(), rounded((10, 1)), false),
        (&double, rounded((10, 1)), rounded((10, 2)), false),
        (&double, rounded((10, 1)), plain(), true),
        (&double, plain(), unsigned(), false),
        (&double, unsigned(), plain(), true),
    ] {
        let kept = kept(&column(ty.clone(), Some(old.clone())), &column(ty.clone(), Some(new.clone())));
        assert_eq!(kept == Kept::Same, same, "{ty:?}, {old:?} to {new:?}");
    }
}

#[test]
fn zeros_before_a_number_are_part_of_its_text() {
    let zeros = Attributes { unsigned: true, zerofill: true, ..plain() };
    let old = column(int(IntWidth::W4, true), Some(zeros));
    let text = ColumnType::VarChar { max_bytes: 160, charset: Charset::new("utf8mb4") };
    assert_eq!(kept(&old, &column(text.clone(), Some(plain()))), Kept::Unknown);
    let wider = column(int(IntWidth::W8, true), Some(Attributes { unsigned: true, ..plain() }));
    assert_eq!(kept(&old, &wider), Kept::Same);
    assert_eq!(kept(&wider, &column(text, Some(plain()))), Kept::Convert(Conversion::ToText));
}

#[test]
fn what_is_not_known_is_not_taken_for_nothing() {
    let ty = int(IntWidth::W4, false);
    let (known, unknown) = (column(ty.clone(), Some(plain())), column(ty, None));
    for (old, new) in [(&known, &unknown), (&unknown, &known), (&unknown, &unknown)] {
        assert_eq!(kept(old, new), Kept::Unknown);
    }
    assert_eq!(kept_untouched(&unknown, &unknown), Kept::Same);
    let strict = Column { nullable: false, ..unknown.clone() };
    assert_eq!(kept_untouched(&unknown, &strict), Kept::Unknown, "a NULL becomes something else");
}
