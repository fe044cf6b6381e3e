//! Loss of power at every step: a disk of ours that stops at its n-th operation and keeps of what was not synced
//! whatever it likes, in pieces of 512 bytes. What was acknowledged must be there, and nothing that never was written.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use redb::StorageBackend;

use super::*;
use crate::state::Pending;

const SECTOR: usize = 512;
/// Each step writes some records, and from the middle on removes what is superseded.
const STEPS: u64 = 12;

#[derive(Debug, Default)]
struct Image {
    /// What is read back.
    now: Vec<u8>,
    /// What survives.
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    operations: u64,
}

#[derive(Clone, Debug)]
struct Disk {
    image: Arc<Mutex<Image>>,
    /// Operations that it carries out before it stops.
    fuse: u64,
}

impl Disk {
    fn new(durable: Vec<u8>, fuse: u64) -> Self {
        let image = Image { now: durable.clone(), durable, ..Image::default() };
        Self { image: Arc::new(Mutex::new(image)), fuse }
    }

    fn step(&self, act: impl FnOnce(&mut Image)) -> io::Result<()> {
        let mut image = self.image.lock();
        if image.operations >= self.fuse {
            return Err(io::Error::other("no power"));
        }
        image.operations += 1;
        act(&mut image);
        Ok(())
    }

    /// What is found when the power is back.
    fn after_power_loss(&self, mut random: u64) -> Vec<u8> {
        let mut image = self.image.lock();
        let unsynced = std::mem::take(&mut image.unsynced);
        let durable = &mut image.durable;
        for (offset, data) in unsynced {
            for (at, sector) in data.chunks(SECTOR).enumerate() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let start = offset + at * SECTOR;
                if random >> 63 == 1 && start + sector.len() <= durable.len() {
                    durable[start..start + sector.len()].copy_from_slice(sector);
                }
            }
        }
        std::mem::take(durable)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.image.lock().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        out.copy_from_slice(&self.image.lock().now[start..start + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.step(|image| {
            image.now.resize(len as usize, 0);
            image.durable.resize(len as usize, 0);
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.step(|image| {
            for (offset, data) in std::mem::take(&mut image.unsynced) {
                if offset + data.len() <= image.durable.len() {
                    image.durable[offset..offset + data.len()].copy_from_slice(&data);
                }
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.step(|image| {
            let start = offset as usize;
            image.now[start..start + data.len()].copy_from_slice(data);
            image.unsynced.push((start, data.to_vec()));
        })
    }
}

fn plain() -> Sealer {
    Sealer::load(Path::new("/"), &Encryption::Off, false).unwrap()
}

fn medium(disk: &Disk) -> Result<RedbMedium, Failure> {
    let database = Some(builder().create_with_backend(disk.clone())?);
    // Whoever opens it again finds the disk mended.
    let mended = Disk { image: Arc::clone(&disk.image), fuse: u64::MAX };
    let open = Box::new(move || Ok(builder().create_with_backend(mended.clone())?));
    let lock = tempfile::tempfile()?;
    let floor = Revision(0);
    Ok(RedbMedium { database, open, sealer: plain(), floor, scratch: Vec::new(), lock })
}

type Keys = BTreeMap<String, (Vec<u8>, Revision)>;

fn keys(state: &State) -> Keys {
    let all = state.map.iter_from(state.map.partition(|_| false));
    all.map(|entry| (entry.key.to_string(), (entry.value.to_vec(), entry.revision))).collect()
}

/// What stands after each revision that was acknowledged, or may have been written when the power went.
struct Run {
    states: BTreeMap<Revision, Keys>,
    acknowledged: Revision,
    finished: bool,
    medium: Option<RedbMedium>,
}

/// Carries out the script on a formatted disk until it stops.
fn run(disk: &Disk) -> Run {
    let shared = Shared::new(State { map: Map::default(), log: Log::new(Revision::FIRST) });
    let mut run = Run {
        states: BTreeMap::from([(Revision::FIRST, Keys::new())]),
        acknowledged: Revision::FIRST,
        finished: false,
        medium: None,
    };
    let Ok(medium) = medium(disk) else { return run };
    let medium = run.medium.insert(medium);
    let now = Instant::now();
    for step in 0..STEPS {
        // Decided one after the other, on a copy that is ahead of the disk by one step.
        let before = shared.revision();
        let mut append = Vec::new();
        let mut pending = Pending::new();
        for at in 0..4 + step % 3 {
            let key = format!("/g/r/{}", (step * 5 + at) % 9);
            let revision = Revision(before.0 + append.len() as u64 + 1);
            let value = vec![step as u8; (step * 700 + at * 90) as usize % 9000].into();
            let there = match pending.get(key.as_str()) {
                Some(there) => there.clone(),
                None => shared.get(&key),
            };
            let write = match there {
                None => Write::Create { key: key.into(), value },
                Some(entry) if at == 2 => {
                    Write::Delete { key: key.into(), expected: entry.revision }
                }
                Some(entry) => Write::Update { key: key.into(), value, expected: entry.revision },
            };
            let decided = shared.read(|state| state.decide(&pending, write, revision));
            let (change, _) = decided.unwrap();
            pending.insert(change.key().clone(), change.after().cloned());
            append.push((revision, Slot::Change(change)));
        }
        let remove = shared.sweep(7);
        let floor = shared.read(|state| state.log.floor());
        let slots: Vec<_> = append.iter().map(|(_, slot)| slot.clone()).collect();
        let outcome = medium.commit(&Step { append: &append, floor, remove: &remove });
        let raised = if step >= STEPS / 2 { before } else { floor };
        shared.publish(&slots, raised, now);
        run.states.insert(shared.revision(), shared.read(keys));
        if outcome.is_err() {
            return run;
        }
        run.acknowledged = shared.revision();
    }
    run.finished = true;
    run
}

fn load(medium: &RedbMedium, fuse: u64) -> Loaded {
    let database = medium.database.as_ref().unwrap();
    let meta = Meta::read(database).unwrap();
    Loaded::read(database, &plain(), meta.floor).unwrap_or_else(|error| match error {
        LoadError::Seal(error) => panic!("cut at {fuse}: {error}"),
        LoadError::Other(error) => panic!("cut at {fuse}: {error}"),
    })
}

#[test]
fn a_disk_that_fails_for_a_while_keeps_nothing_that_was_refused() {
    let blank = Disk::new(Vec::new(), u64::MAX);
    make_tables(medium(&blank).unwrap().database.as_ref().unwrap()).unwrap();
    let formatted = blank.image.lock().durable.clone();
    let mut failures = 0;
    for fuse in 0.. {
        let disk = Disk::new(formatted.clone(), fuse);
        let run = run(&disk);
        if run.finished {
            break;
        }
        let Some(mut medium) = run.medium else { continue };
        failures += 1;
        medium.reopen(run.acknowledged).unwrap_or_else(|error| panic!("at {fuse}: {error}"));
        let loaded = load(&medium, fuse);
        assert_eq!(loaded.state.log.head(), run.acknowledged, "at {fuse}");
        assert_eq!(Some(&keys(&loaded.state)), run.states.get(&run.acknowledged), "at {fuse}");
        let key = "/g/r/later".into();
        let next = Revision(run.acknowledged.0 + 1);
        let write = Write::Create { key, value: vec![1].into() };
        let (change, _) = loaded.state.decide(&Pending::new(), write, next).unwrap();
        let append = [(next, Slot::Change(change))];
        let step = Step { append: &append, floor: Revision(0), remove: &[] };
        medium.commit(&step).unwrap_or_else(|error| panic!("at {fuse}: {error}"));
        assert_eq!(load(&medium, fuse).state.log.head(), next, "at {fuse}");
    }
    assert!(failures > 100, "only {failures} failures");
}

#[test]
fn power_may_fail_at_every_step_of_the_disk() {
    let blank = Disk::new(Vec::new(), u64::MAX);
    make_tables(medium(&blank).unwrap().database.as_ref().unwrap()).unwrap();
    let formatted = blank.image.lock().durable.clone();
    let mut cuts = 0;
    for fuse in 0.. {
        let disk = Disk::new(formatted.clone(), fuse);
        let run = run(&disk);
        let again = Disk::new(disk.after_power_loss(fuse), u64::MAX);
        let medium = medium(&again).unwrap_or_else(|error| panic!("cut at {fuse}: {error}"));
        let loaded = load(&medium, fuse);
        let head = loaded.state.log.head();
        assert!(head >= run.acknowledged, "cut at {fuse}: {} is lost", run.acknowledged);
        assert_eq!(Some(&keys(&loaded.state)), run.states.get(&head), "cut at {fuse}");
        if run.finished {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 100, "only {cuts} cuts");
}
