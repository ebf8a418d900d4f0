use proptest::prelude::*;

use super::*;

fn items() -> impl Strategy<Value = Vec<ErasedItem>> {
    proptest::collection::vec((0..50_u64, "[a-z/\"é]{0,20}").prop_map(|(leaf, path)| ErasedItem { leaf, path }), 0..40)
}

#[test]
fn a_list_has_one_form() {
    let read = |text: &str| ErasedItems::read(&mut text.as_bytes());
    let line = |leaf: u64| format!("{{\"leaf\":{leaf},\"path\":\"event\"}}\n");
    assert_eq!(read(&(line(1) + &line(2))).unwrap().items().len(), 2);
    for bad in
        [line(2) + &line(1), line(1) + &line(1), line(1).trim_end().to_owned(), line(1).replace(':', ": "), "\n".to_owned()]
    {
        assert!(matches!(read(&bad), Err(TombstoneError::Line(_))), "{bad}");
    }
    assert!(matches!(read(&format!("{{\"leaf\":1,\"path\":\"{}\"}}\n", "a".repeat(9_000))), Err(TombstoneError::Line(1))));
    for bad in ["", "a/b", "..", "a b"] {
        assert!(ErasedItems::default().tombstone(bad).is_err());
    }
}

/// A golden root: a change of the format must be a change of its version.
#[test]
fn the_format_stands_still() {
    let list = ErasedItems::new(vec![
        ErasedItem { leaf: 7, path: "field/3/identity".to_owned() },
        ErasedItem { leaf: 7, path: "event".to_owned() },
        ErasedItem { leaf: 1, path: "event".to_owned() },
    ]);
    assert_eq!(
        hex::encode(&list.tombstone("r").unwrap().root),
        "6964181f4e55edb9b479d1e3dbf9326546388252486c36deb2c222ba60ee144c"
    );
}

proptest! {
    #[test]
    fn lists_round_trip_in_any_order(items in items()) {
        let list = ErasedItems::new(items.clone());
        prop_assert_eq!(&list, &ErasedItems::new(items.into_iter().rev().collect()));
        let mut written = Vec::new();
        list.write(&mut written).unwrap();
        prop_assert_eq!(&ErasedItems::read(&mut written.as_slice()).unwrap(), &list);
    }

    #[test]
    fn the_cached_tree_proves_what_the_plain_one_does(items in items()) {
        let list = ErasedItems::new(items);
        let hashes: Vec<Hash> = list.items().iter().map(ErasedItem::hash).collect();
        let tree = Subtrees::of(hashes.clone());
        let tombstone = list.tombstone("r").unwrap();
        for (index, item) in list.items().iter().enumerate() {
            let path = inclusion(&tree, index as u64, hashes.len() as u64).unwrap();
            prop_assert_eq!(&path, &inclusion(&hashes.as_slice(), index as u64, hashes.len() as u64).unwrap());
            let member = Membership { item: item.clone(), index: index as u64, path };
            Erasures::default().add(100, &tombstone, &member).unwrap();
            let moved = Membership { index: index as u64 + 1, ..member };
            prop_assert!(Erasures::default().add(100, &tombstone, &moved).is_err());
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in any::<Vec<u8>>()) {
        let _ = ErasedItems::read(&mut text.as_slice());
    }
}
