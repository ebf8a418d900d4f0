//! The leaves of many records, whose fields are hashed together.

use event::EventId;
use journal::Record;
use journal::hash::{Mac, Many};

use super::{CONTENTS_PATH, FIELD_DOMAIN, FieldType, Leaf, LeafError, Members, SALT_DOMAIN, length};
use crate::tree::{EMPTY_ROOT, Hash};

/// Records whose fields are hashed together: enough to fill the lanes, and few enough that their blocks stay in the cache.
const RECORDS_TOGETHER: usize = 32;

/// Computes leaves.
#[derive(Debug, Default)]
pub(crate) struct Leaves {
    many: Many,
}

/// A record, and the id that its event must have where that is known from elsewhere.
pub(crate) type Asked<'a> = (&'a Record, Option<[u8; 16]>);

/// A record that is read, and its fields among those of the others.
struct Read<'a> {
    record: &'a Record,
    event: Members<'a>,
    contents: Vec<u8>,
}

struct Field<'a> {
    /// Whose it is: the place among the records that could be read.
    of: usize,
    /// Where its path lies in the buffer of all paths, with the path's length before it.
    path: std::ops::Range<usize>,
    /// Its type, and the length of its value.
    kind_and_length: [u8; 5],
    value: &'a [u8],
}

impl Leaves {
    /// The leaf of each record in the log of that id, as [`Leaf::of`] gives it.
    pub(crate) fn of(&mut self, records: &[Asked<'_>], log_id: [u8; 16]) -> Vec<Result<Leaf, LeafError>> {
        records.chunks(RECORDS_TOGETHER).flat_map(|together| self.together(together, log_id)).collect()
    }

    fn together(&mut self, records: &[Asked<'_>], log_id: [u8; 16]) -> Vec<Result<Leaf, LeafError>> {
        let read: Vec<Result<Read<'_>, LeafError>> = records.iter().map(|asked| Read::new(*asked)).collect();
        let whole: Vec<&Read<'_>> = read.iter().flatten().collect();
        let (mut paths, mut fields, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
        for (of, read) in whole.iter().enumerate() {
            let begin = fields.len();
            read.fields(of, &mut paths, &mut fields);
            ranges.push(begin..fields.len());
        }
        let hashes = self.field_hashes(&whole, &paths, &fields);
        let mut roots = ranges.iter().map(|range| range.len()).zip(self.roots(&hashes, &ranges));
        let leaf = |read: Result<Read<'_>, LeafError>| {
            let read = read?;
            let (fields, root) = roots.next().unwrap_or((0, EMPTY_ROOT));
            read.event.leaf(read.record, log_id, fields, root)
        };
        read.into_iter().map(leaf).collect()
    }

    /// What [`Field::hash`](super::Field::hash) is of each field, step by step for all of them.
    fn field_hashes(&mut self, records: &[&Read<'_>], paths: &[u8], fields: &[Field<'_>]) -> Vec<Hash> {
        let many = &mut self.many;
        let keys: Vec<Mac> = many.keys(records.iter().map(|read| read.record.commitment_key));
        for field in fields {
            many.push_tag(&keys[field.of], &[SALT_DOMAIN, &paths[field.path.clone()]]);
        }
        let salts = many.finish();
        for (field, salt) in fields.iter().zip(many.keys(salts)) {
            many.push_tag(&salt, &[FIELD_DOMAIN, &paths[field.path.clone()], &field.kind_and_length, field.value]);
        }
        for (field, commitment) in fields.iter().zip(many.finish()) {
            many.push(&[&[0], &paths[field.path.clone()], &commitment]);
        }
        many.finish()
    }

    /// The root over the hashes of each range. Level by level: where a hash is left over at the end of a level it goes up as it is,
    /// which gives the tree of RFC 6962.
    fn roots(&mut self, hashes: &[Hash], ranges: &[std::ops::Range<usize>]) -> Vec<Hash> {
        let mut levels: Vec<Vec<Hash>> = ranges.iter().map(|range| hashes[range.clone()].to_vec()).collect();
        while levels.iter().any(|level| level.len() > 1) {
            for level in &levels {
                level.as_chunks().0.iter().for_each(|[left, right]| self.many.push(&[&[1], left, right]));
            }
            let mut nodes = self.many.finish().into_iter();
            for level in &mut levels {
                let left_over = (level.len() % 2 == 1).then(|| level.pop()).flatten();
                *level = nodes.by_ref().take(level.len() / 2).chain(left_over).collect();
            }
        }
        levels.into_iter().map(|level| level.first().copied().unwrap_or(EMPTY_ROOT)).collect()
    }
}

impl<'a> Read<'a> {
    fn new((record, id): Asked<'a>) -> Result<Self, LeafError> {
        let event = Members::of(&record.event_json)?;
        if let Some(id) = id
            && *event.parse::<EventId>("id")?.as_bytes() != id
        {
            return Err(LeafError::EventId);
        }
        let contents = event.contents(record)?;
        // A path is at most twice as long as the event: `~` and `/` are written with two characters.
        length(record.event_json.len().saturating_mul(2)).and(length(contents.len()))?;
        Ok(Self { record, event, contents })
    }

    fn fields<'r>(&'r self, of: usize, paths: &mut Vec<u8>, fields: &mut Vec<Field<'r>>) {
        let mut push = |path: &[u8], kind: FieldType, value: &'r [u8]| {
            let begin = paths.len();
            paths.extend_from_slice(&length(path.len())?);
            paths.extend_from_slice(path);
            let [a, b, c, d] = length(value.len())?;
            fields.push(Field { of, path: begin..paths.len(), kind_and_length: [kind as u8, a, b, c, d], value });
            Ok(())
        };
        // Only what is too long is an error, and `new` has refused that.
        let _ = self.event.visit(|path, value| push(path, FieldType::Json, value.get().as_bytes()));
        let _ = push(CONTENTS_PATH.as_bytes(), FieldType::Contents, &self.contents);
    }
}
