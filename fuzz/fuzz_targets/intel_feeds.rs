//! Feeds: no bytes make a reader panic; each indicator that is read has a value in its normal form, is found again in a set of them, and
//! comes through STIX as it was.
#![no_main]

use intel::feed::{self, Format, Manifest, Options};
use intel::{Kind, SetBuilder, WarningLists, normalize};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(Manifest::read(bytes));
    drop(WarningLists::default().add_misp(bytes));
    let _ = Format::of(bytes);
    for format in [Format::Stix, Format::Misp, Format::AbuseCh, Format::Plain] {
        let Ok(reading) = feed::read(format, bytes, &Options::default()) else { continue };
        let mut builder = SetBuilder::default();
        builder.add(reading.indicators.iter().take(1_000).cloned()).unwrap();
        let set = builder.build();
        for one in reading.indicators.iter().take(1_000) {
            assert_eq!(normalize(one.kind, &one.value).as_ref(), Some(&one.value), "{one:?}");
            let is_net = one.kind == Kind::Ip && one.value.contains('/');
            if one.kind != Kind::NearPrompt && !is_net {
                let mut hits = Vec::new();
                set.look_up(one.kind, &one.value, &mut hits);
                assert!(!hits.is_empty(), "{one:?}");
            }
        }
        let bundle = intel::stix::bundle(reading.indicators.into_iter().take(100), 0).to_string();
        let again = feed::read(Format::Stix, bundle.as_bytes(), &Options::default()).unwrap();
        assert_eq!(again.problems.count(), 0, "{bundle}");
    }
});
