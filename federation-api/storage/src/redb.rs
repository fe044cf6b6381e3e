//! The durable store: a redb file that holds one record per revision, and everything readable in memory.
//!
//! ```text
//! DATA_DIR/lock         held by the process that has the store open
//! DATA_DIR/key          the encryption key, unless it is kept elsewhere
//! DATA_DIR/store.redb   val: revision → record (see `record`) · meta: format, floor, key
//! ```
//!
//! There is no index by key on disk: opening reads all records in order and so rebuilds the newest state and the log.

use std::{
    collections::VecDeque,
    fmt, fs, future,
    hash::BuildHasher,
    io,
    ops::Bound,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, future::BoxFuture};
use hashbrown::{DefaultHashBuilder, HashTable, hash_table};
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition,
};
use tokio::time::Instant;

use crate::{
    At, Change, CommitError, Committed, Encryption, Entry, Listing, OpenError, ReadError, Revision,
    Store, Watch, WatchError, Write,
    log::{Log, Slot},
    map::Map,
    record::{Op, Record},
    seal::{Sealer, key_path},
    state::{Shared, State, version},
    writer::{Medium, MediumError, Step, Writer},
};

const VAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("val");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// The format of the records and of the meta table.
const FORMAT: u64 = 1;
/// Everything is read from memory; pages are cached only for the writer's own path through the tree.
const CACHE: usize = 16 << 20;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A [`Store`] in a directory.
pub struct RedbStore {
    shared: Arc<Shared>,
    writer: Writer,
}

impl RedbStore {
    /// Opens the store in `dir`, and makes both if need be. Blocks while it reads all records.
    pub fn open(dir: impl AsRef<Path>, encryption: &Encryption) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let path = dir.join("store.redb");
        let shown = || path.display().to_string();
        let unreadable = |source: Failure| OpenError::Unreadable { path: shown(), source };
        let lock = lock(dir)?;
        if !path.exists() {
            create(dir, &path).map_err(unreadable)?;
        }
        let database = match builder().open(&path) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                return Err(OpenError::InUse { path: dir.display().to_string() });
            }
            Err(error) => return Err(unreadable(error.into())),
        };
        let meta = Meta::read(&database).map_err(unreadable)?;
        if meta.format != FORMAT {
            let found = u32::try_from(meta.format).unwrap_or(u32::MAX);
            return Err(OpenError::Format { path: shown(), found, known: FORMAT as u32 });
        }
        let sealer = Sealer::load(dir, encryption, meta.key.is_none())?;
        let key_refused = |reason: String| OpenError::Key {
            path: key_path(dir, encryption).display().to_string(),
            reason,
        };
        if let (Some(id), Some(sealed_with)) = (sealer.id(), &meta.key)
            && !sealer.knows(sealed_with)
        {
            let reason = format!("it is not the key of this store (its id is {id:02x?})");
            return Err(key_refused(reason));
        }
        if let Some(id) = sealer.id().filter(|id| meta.key.as_deref() != Some(&id[..])) {
            note_key(&database, &id).map_err(unreadable)?;
        }
        let loaded = Loaded::read(&database, &sealer, meta.floor).map_err(|error| match error {
            LoadError::Seal(error) => key_refused(error.to_string()),
            LoadError::Other(source) => unreadable(source),
        })?;
        let shared = Shared::new(loaded.state);
        let file = path.clone();
        let open = Box::new(move || Ok(builder().open(&file)?));
        let database = Some(database);
        let medium =
            RedbMedium { database, open, sealer, floor: meta.floor, scratch: Vec::new(), lock };
        let writer = Writer::start(shared.clone(), medium, loaded.garbage)
            .map_err(|error| unreadable(error.into()))?;
        Ok(Self { shared, writer })
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.shared.wakers.close();
    }
}

impl Store for RedbStore {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Arc<Entry>>, ReadError>> {
        future::ready(Ok(self.shared.get(key))).boxed()
    }

    fn list(
        &self,
        prefix: &str,
        start: Bound<&str>,
        limit: usize,
        at: At,
    ) -> BoxFuture<'_, Result<Listing, ReadError>> {
        self.shared.list(prefix, start, limit, at)
    }

    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Committed, CommitError>> {
        self.writer.commit(write).boxed()
    }

    fn watch(&self, prefix: &str, since: Revision) -> Result<Watch, WatchError> {
        self.shared.watch(prefix, since)
    }

    fn revision(&self) -> Revision {
        self.shared.revision()
    }

    fn compact(&self) -> BoxFuture<'_, Result<Revision, CommitError>> {
        self.writer.compact().boxed()
    }

    fn writable(&self) -> BoxFuture<'_, Result<(), CommitError>> {
        self.writer.probe().boxed()
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

/// Makes `dir` and takes its lock.
fn lock(dir: &Path) -> Result<fs::File, OpenError> {
    let shown = || dir.display().to_string();
    let unreadable =
        |error: io::Error| OpenError::Unreadable { path: shown(), source: error.into() };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unreadable)?;
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("lock"))
        .map_err(unreadable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse { path: shown() }),
        Err(fs::TryLockError::Error(error)) => Err(unreadable(error)),
    }
}

/// Makes the file under another name first, so that a crash never leaves half of one.
fn create(dir: &Path, path: &Path) -> Result<(), Failure> {
    let draft = dir.join("store.redb.new");
    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    let database = builder().create(&draft)?;
    make_tables(&database)?;
    drop(database);
    fs::rename(&draft, path)?;
    fs::File::open(dir)?.sync_all()?;
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn make_tables(database: &Database) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("format", &FORMAT.to_le_bytes()[..])?;
        meta.insert("floor", &Revision::FIRST.0.to_le_bytes()[..])?;
        transaction.open_table(VAL)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Notes which key seals, so that a wrong one is refused even before anything is sealed.
fn note_key(database: &Database, id: &[u8]) -> Result<(), Failure> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("key", id)?;
    transaction.commit()?;
    Ok(())
}

struct Meta {
    format: u64,
    floor: Revision,
    key: Option<Vec<u8>>,
}

impl Meta {
    fn read(database: &Database) -> Result<Self, Failure> {
        let table = database.begin_read()?.open_table(META)?;
        let number = |name: &str| -> Result<u64, Failure> {
            let value = table.get(name)?.ok_or_else(|| format!("`{name}` is missing"))?;
            Ok(u64::from_le_bytes(value.value().try_into()?))
        };
        let key = table.get("key")?.map(|value| value.value().to_vec());
        Ok(Self { format: number("format")?, floor: Revision(number("floor")?), key })
    }
}

/// What an opened file holds.
struct Loaded {
    state: State,
    /// Records below the floor that an earlier run had no time to remove.
    garbage: VecDeque<Revision>,
}

enum LoadError {
    Seal(crate::seal::SealError),
    Other(Failure),
}

impl<E: Into<Failure>> From<E> for LoadError {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl Loaded {
    fn read(database: &Database, sealer: &Sealer, floor: Revision) -> Result<Self, LoadError> {
        let table = database.begin_read()?.open_table(VAL)?;
        let mut newest = Newest::with_capacity(usize::try_from(table.len()?)?);
        let mut log = Log::new(floor);
        let mut garbage = VecDeque::new();
        let (now, seconds) = (Instant::now(), unix_seconds());
        for item in table.iter()? {
            let (revision, bytes) = item?;
            let revision = Revision(revision.value());
            let record = Record::decode(bytes.value())
                .ok_or_else(|| format!("the record of revision {revision} is damaged"))?;
            let place = newest.find(record.key);
            let before = place.current();
            let slot = match (record.op, &before) {
                (Op::Compaction, _) => Slot::Compaction,
                (Op::Delete, Some(before)) => {
                    place.remove();
                    Slot::Change(Change::Deleted(before.clone()))
                }
                // Its version may be removed already; the deletion itself goes last.
                (Op::Delete, None) if revision <= floor => Slot::Swept,
                (Op::Put, _) => {
                    let opened;
                    let value = if record.sealed {
                        opened = sealer
                            .open(record.key, revision, record.value)
                            .map_err(LoadError::Seal)?;
                        &opened
                    } else {
                        record.value
                    };
                    let key = match &before {
                        Some(before) => before.key.clone(),
                        None => record.key.into(),
                    };
                    let after = version(key, value, revision, record.created);
                    place.put(after.clone());
                    match &before {
                        Some(before) => {
                            Slot::Change(Change::Updated { before: before.clone(), after })
                        }
                        None if record.created == revision || revision <= floor => {
                            Slot::Change(Change::Created(after))
                        }
                        None => return Err(missing(revision).into()),
                    }
                }
                (Op::Delete, None) => return Err(missing(revision).into()),
            };
            if revision > floor {
                if revision.0 != log.head().0 + 1 {
                    return Err(missing(revision).into());
                }
                let age = Duration::from_secs(u64::from(seconds.saturating_sub(record.seconds)));
                log.push(slot, now.checked_sub(age).unwrap_or(now));
            } else {
                garbage.extend(before.map(|before| before.revision));
                if record.op != Op::Put {
                    garbage.push_back(revision);
                }
            }
        }
        let mut entries: Vec<_> = newest.table.into_iter().collect();
        entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        Ok(Self { state: State { map: Map::from_sorted(entries), log }, garbage })
    }
}

/// The newest versions while they are read: a table that holds nothing but them, and hashes each key once.
struct Newest {
    table: HashTable<Arc<Entry>>,
    hasher: DefaultHashBuilder,
}

/// Where a key is, or would be.
enum Place<'a> {
    Taken(hash_table::OccupiedEntry<'a, Arc<Entry>>),
    Free(hash_table::VacantEntry<'a, Arc<Entry>>),
}

impl Newest {
    fn with_capacity(entries: usize) -> Self {
        let hasher = DefaultHashBuilder::default();
        Self { table: HashTable::with_capacity(entries), hasher }
    }

    fn find(&mut self, key: &str) -> Place<'_> {
        let hasher = &self.hasher;
        let same = |entry: &Arc<Entry>| *entry.key == *key;
        match self.table.entry(hasher.hash_one(key), same, |entry| hasher.hash_one(&*entry.key)) {
            hash_table::Entry::Occupied(taken) => Place::Taken(taken),
            hash_table::Entry::Vacant(free) => Place::Free(free),
        }
    }
}

impl Place<'_> {
    fn current(&self) -> Option<Arc<Entry>> {
        match self {
            Self::Taken(taken) => Some(taken.get().clone()),
            Self::Free(_) => None,
        }
    }

    fn put(self, entry: Arc<Entry>) {
        match self {
            Self::Taken(mut taken) => *taken.get_mut() = entry,
            Self::Free(free) => drop(free.insert(entry)),
        }
    }

    fn remove(self) {
        if let Self::Taken(taken) = self {
            taken.remove();
        }
    }
}

fn missing(revision: Revision) -> String {
    format!("a record before revision {revision} is missing")
}

/// The time that records carry, so that their age is known after a restart.
fn unix_seconds() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

struct RedbMedium {
    /// None while it is closed after a failure.
    database: Option<Database>,
    open: Box<dyn Fn() -> Result<Database, Failure> + Send>,
    sealer: Sealer,
    /// The floor on disk.
    floor: Revision,
    scratch: Vec<u8>,
    #[expect(dead_code, reason = "held until the database is closed: fields drop in order")]
    lock: fs::File,
}

impl Medium for RedbMedium {
    fn commit(&mut self, step: &Step<'_>) -> Result<(), MediumError> {
        let seconds = unix_seconds();
        // Durable on commit is redb's default; one sync per transaction.
        let database = self.database.as_ref().ok_or("the store's file is closed")?;
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(VAL)?;
            for (revision, slot) in step.append {
                self.scratch.clear();
                let record = Record::of(slot, seconds);
                if record.op == Op::Put && self.sealer.covers(record.key) {
                    record.encode_head(true, &mut self.scratch);
                    self.sealer.seal(record.key, *revision, record.value, &mut self.scratch)?;
                } else {
                    record.encode_head(false, &mut self.scratch);
                    self.scratch.extend_from_slice(record.value);
                }
                table.insert(revision.0, self.scratch.as_slice())?;
            }
            for revision in step.remove {
                table.remove(revision.0)?;
            }
            if step.floor > self.floor {
                let floor = step.floor.0.to_le_bytes();
                transaction.open_table(META)?.insert("floor", &floor[..])?;
            }
        }
        transaction.commit()?;
        self.floor = self.floor.max(step.floor);
        if self.scratch.capacity() > 1 << 20 {
            self.scratch = Vec::new();
        }
        Ok(())
    }

    fn reopen(&mut self, head: Revision) -> Result<(), MediumError> {
        // The file has one owner: it is closed before it is opened again.
        self.database = None;
        let database = (self.open)()?;
        let transaction = database.begin_write()?;
        // A commit that failed may have reached the disk all the same.
        transaction.open_table(VAL)?.retain_in(head.0 + 1.., |_: u64, _: &[u8]| false)?;
        transaction.commit()?;
        self.database = Some(database);
        Ok(())
    }
}

#[cfg(test)]
mod power;
#[cfg(test)]
mod tests;
