use event::{Event, Key, Source, SourcePath};
use journal::{Record, Seq};
use proptest::prelude::*;

use super::*;
use crate::stored::tests::{record, subject, token};
use crate::{Cut, ErasedItem, ErasedItems, ErasedTokens, Membership, Redaction, TOMBSTONE_EVENT, Tombstone};

const LOG: [u8; 16] = [3; 16];

fn shown(stored: &StoredRecord, selection: &Selection<'_>) -> Disclosure {
    let shown = Disclosure::of(stored, LOG, selection).unwrap();
    assert_eq!(Disclosure::parse(&shown.to_json().unwrap()).unwrap(), shown);
    shown
}

fn verify(shown: &Disclosure) -> Verified {
    shown.verify(LOG, &Erasures::default()).unwrap()
}

/// The record of an erasure, at leaf 20.
fn tombstone_record(tombstone: &Tombstone, way_in: SourcePath) -> Record {
    let mut event: Event<Clean, ContentRef> =
        Event::new(Kind::Admin, Clean::literal(TOMBSTONE_EVENT), Source::new(way_in, Key::of("watchkeeper")));
    event.attributes.extend(tombstone.attributes());
    Record {
        seq: Seq(20),
        commitment_key: [1; 32],
        blind: [2; 16],
        event_json: serde_json::to_vec(&event).unwrap(),
        contents: Vec::new(),
    }
}

fn proved(record: &Record) -> Result<Tombstone, crate::TombstoneError> {
    let shown = shown(&StoredRecord::whole(record.clone()), &Selection::all());
    Tombstone::of(&shown, &verify(&shown))
}

#[test]
fn everything_shown_is_disclosed() {
    let whole = record(&[0, 1], &[2, 3]);
    let verified = verify(&shown(&StoredRecord::whole(whole.clone()), &Selection::all()));
    assert_eq!(verified.leaf, Leaf::of(&whole, LOG).unwrap());
    assert_eq!(verified.contents.len(), 2);
    assert!(verified.verdicts().all(|verdict| verdict == Verdict::Disclosed));
}

#[test]
fn what_is_kept_back_cannot_be_told_and_is_said_to_be_withheld() {
    let whole = record(&[0, 1], &[2, 3]);
    let (first, second) = (whole.contents[0].id, whole.contents[1].id);
    let secret = token(2, "@a.example");
    let shown = shown(
        &StoredRecord::whole(whole),
        &Selection {
            field: &|path, _| path != "/identity" && !path.starts_with("/unmapped"),
            content: &|id, owner| id == first && owner == subject(0),
            token: &|token| token != secret,
        },
    );
    let verified = verify(&shown);
    assert_eq!(verified.fields.iter().filter(|verdict| **verdict == Verdict::Withheld).count(), 3);
    assert_eq!(verified.contents[0].verdict, Verdict::Disclosed);
    assert_eq!(verified.contents[0].spans, [Verdict::Withheld, Verdict::Disclosed]);
    assert_eq!(verified.contents[1], VerifiedContent { id: second, verdict: Verdict::Withheld, spans: Vec::new() });
    let json = String::from_utf8(shown.to_json().unwrap()).unwrap();
    assert!(!json.contains(&secret) && !json.contains("brown fox") && !json.contains(&token(0, "")[..30]), "{json}");
}

#[test]
fn erased_needs_a_tombstone_in_the_log_else_it_is_unknown() {
    let whole = record(&[0, 1], &[2]);
    let mut stored = StoredRecord::whole(whole.clone());
    let tokens = ErasedTokens::from_iter([token(0, ""), token(2, "")]);
    let is_one = |candidate| candidate == subject(1);
    let what =
        Redaction { event: false, field: &|_, _| false, content: &|_, subject| Cut::all_if(is_one(subject)), tokens: &tokens };
    let gone = stored.redact(&what).unwrap();
    let shown = shown(&stored, &Selection::all());
    let unknown = verify(&shown);
    let count = |verified: &Verified, which: Verdict| verified.verdicts().filter(|verdict| *verdict == which).count();
    assert_eq!((count(&unknown, Verdict::Unknown), gone.len()), (4, 4));

    let other = ErasedItem { leaf: 4, path: "field/3/name".to_owned() };
    let items = gone.into_iter().map(|path| ErasedItem { leaf: 9, path }).chain([other.clone()]).collect();
    let list = ErasedItems::new(items);
    let tombstone = proved(&tombstone_record(&list.tombstone("r-1").unwrap(), SourcePath::Internal)).unwrap();
    let mut whole_list = Erasures::default();
    whole_list.add_list(20, &tombstone, &list).unwrap();
    let members = list.prove_for([&shown]);
    assert_eq!(members.len(), 4);
    assert!(members.iter().all(|member| member.item != other), "nothing is told of others");
    let mut by_members = Erasures::default();
    for member in &members {
        let json = serde_json::to_string(member).unwrap();
        by_members.add(20, &tombstone, &serde_json::from_str(&json).unwrap()).unwrap();
    }
    for erasures in [whole_list, by_members] {
        let verified = shown.verify(LOG, &erasures).unwrap();
        assert_eq!(count(&verified, Verdict::Erased { tombstone: 20 }), 4);
        assert_eq!(count(&verified, Verdict::Unknown), 0);
    }

    let forged = Membership { item: ErasedItem { leaf: 9, path: "event".to_owned() }, ..members[0].clone() };
    assert!(Erasures::default().add(20, &tombstone, &forged).is_err());
    let mut too_early = Erasures::default();
    too_early.add_list(9, &tombstone, &list).unwrap();
    assert_eq!(count(&shown.verify(LOG, &too_early).unwrap(), Verdict::Erased { tombstone: 9 }), 0, "only what was there can go");
    assert!(proved(&tombstone_record(&tombstone, SourcePath::Api)).is_err(), "anybody can send an event of that name");
    assert!(proved(&whole).is_err());
}

#[test]
fn an_erased_event_is_covered_by_one_item() {
    let mut stored = StoredRecord::whole(record(&[0], &[]));
    let all = |_| true;
    let what = Redaction {
        event: true,
        field: &|_, _| false,
        content: &|_, subject| Cut::all_if(all(subject)),
        tokens: &ErasedTokens::none(),
    };
    let items = stored.redact(&what).unwrap().into_iter().map(|path| ErasedItem { leaf: 9, path }).collect();
    let list = ErasedItems::new(items);
    let mut erasures = Erasures::default();
    erasures.add_list(20, &list.tombstone("r").unwrap(), &list).unwrap();
    let verified = shown(&stored, &Selection::all()).verify(LOG, &erasures).unwrap();
    assert!(verified.verdicts().all(|verdict| verdict == Verdict::Erased { tombstone: 20 }));
}

#[test]
fn a_content_that_another_record_brought_is_shown_by_its_reference() {
    let mut whole = record(&[0, 1], &[2]);
    let brought = whole.contents.remove(1);
    let mut shown = shown(&StoredRecord::whole(whole), &Selection::all());
    let of = |shown: &Disclosure| {
        verify(shown).contents.iter().find(|content| content.id == brought.id).map(|content| content.verdict)
    };
    assert_eq!(of(&shown), Some(Verdict::Withheld));
    shown.add_content(&StoredContent::Whole(brought.clone()), &Selection::all());
    assert_eq!(of(&shown), Some(Verdict::Disclosed));
    let unrelated = record(&[3], &[]).contents.remove(0);
    shown.add_content(&StoredContent::Whole(unrelated), &Selection::all());
    assert!(!verify(&shown).is_untampered(), "nothing ties it to the record");
}

#[test]
fn every_change_of_what_is_shown_is_found_where_it_is() {
    let good = shown(&StoredRecord::whole(record(&[0, 1], &[2])), &Selection::all());
    let verdicts = |change: &dyn Fn(&mut Disclosure)| {
        let mut changed = good.clone();
        change(&mut changed);
        verify(&changed)
    };
    for at in 0..good.fields.len() {
        let changes: [&dyn Fn(&mut OpenField); 3] =
            [&|field| field.value.push(' '), &|field| field.salt[9] ^= 1, &|field| field.path.push('x')];
        for change in changes {
            let verified = verdicts(&|shown| change(&mut shown.fields[at]));
            assert_eq!(verified.fields[at], Verdict::Tampered);
            assert_eq!(verified.fields.iter().filter(|verdict| **verdict == Verdict::Tampered).count(), 1, "and nowhere else");
        }
        let verified = verdicts(&|shown| {
            shown.fields.remove(at);
        });
        assert_eq!(verified.fields[at], Verdict::Unknown);
        assert!(!verdicts(&|shown| shown.hashes[at][0] ^= 1).is_untampered());
        assert!(!verdicts(&|shown| shown.fields[at].index ^= 1).is_untampered());
    }
    assert!(
        !verdicts(&|shown| shown.leaf[90] ^= 1).is_untampered()
            || verdicts(&|shown| shown.leaf[90] ^= 1).leaf_hash != verify(&good).leaf_hash
    );
    let text = |shown: &mut Disclosure| {
        if let StoredContent::Whole(entry) = &mut shown.contents[1] {
            entry.text = Clean::literal("other");
        }
    };
    assert_eq!(verdicts(&text).contents[1].verdict, Verdict::Tampered);
    assert!(good.verify([4; 16], &Erasures::default()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is done to the JSON: it is refused, or something in it is tampered with, or it says nothing else.
    #[test]
    fn no_change_of_the_json_passes(at in any::<prop::sample::Index>(), byte in 0x20_u8..0x7f) {
        let good = shown(&StoredRecord::whole(record(&[0], &[2])), &Selection::all());
        let mut json = good.to_json().unwrap();
        let at = at.index(json.len());
        json[at] = byte;
        if let Ok(changed) = Disclosure::parse(&json)
            && let Ok(verified) = changed.verify(LOG, &Erasures::default())
        {
            let is_same = changed.fields == good.fields && changed.contents == good.contents && verified.leaf_hash == verify(&good).leaf_hash;
            prop_assert!(is_same || !verified.is_untampered() || verified.leaf_hash != verify(&good).leaf_hash);
        }
    }
}
