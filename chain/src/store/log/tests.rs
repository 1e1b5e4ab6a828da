use super::*;

fn payload(seed: u8) -> Vec<u8> {
    vec![seed; MIN_TRANSACTION_BYTES + usize::from(seed)]
}

fn written(folder: &Path, seeds: &[u8]) -> (PathBuf, Vec<Location>) {
    let path = folder.join("log");
    let mut log = RecordLog::open(&path, &Hash::ZERO).unwrap();
    let locations = seeds.iter().map(|&seed| log.append(&payload(seed)).unwrap()).collect();
    log.sync().unwrap();
    (path, locations)
}

fn reopened(path: &Path) -> Result<Vec<Vec<u8>>, StoreError> {
    RecordLog::open(path, &Hash::ZERO)?.read_all_repairing()
}

#[test]
fn records_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let (path, locations) = written(folder.path(), &[1, 2, 3]);
    assert_eq!(reopened(&path).unwrap(), [payload(1), payload(2), payload(3)]);
    let log = RecordLog::open_read_only(&path, &Hash::ZERO).unwrap();
    let found = log.read_next(locations[1].offset).unwrap();
    assert!(
        matches!(found, Next::Record(at, bytes) if (at, &bytes) == (locations[1], &payload(2)))
    );
}

#[test]
fn a_tail_cut_anywhere_loses_only_the_last_record() {
    let folder = tempfile::tempdir().unwrap();
    let (path, locations) = written(folder.path(), &[1, 2]);
    let whole = std::fs::read(&path).unwrap();
    for cut in locations[1].offset + 1..locations[1].end() {
        std::fs::write(&path, &whole[..usize::try_from(cut).unwrap()]).unwrap();
        assert_eq!(reopened(&path).unwrap(), [payload(1)], "cut at {cut}");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), locations[1].offset);
    }
}

#[test]
fn a_tail_of_zeros_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (path, locations) = written(folder.path(), &[1]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend([0; 5000]);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(reopened(&path).unwrap(), [payload(1)]);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), locations[0].end());
}

#[test]
fn damage_in_the_middle_is_refused_with_file_and_offset() {
    let folder = tempfile::tempdir().unwrap();
    let (path, locations) = written(folder.path(), &[1, 2, 3]);
    let whole = std::fs::read(&path).unwrap();
    for at in [locations[1].offset, locations[1].offset + 4, locations[1].offset + 20] {
        let mut bytes = whole.clone();
        bytes[usize::try_from(at).unwrap()] ^= 0x40;
        std::fs::write(&path, &bytes).unwrap();
        let error = reopened(&path).unwrap_err();
        assert!(
            matches!(&error, StoreError::Damaged { path: named, offset, .. }
                if *named == path && *offset == locations[1].offset),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused file is left alone");
    }
}

#[test]
fn another_networks_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = written(folder.path(), &[1]);
    let error = RecordLog::open(&path, &Hash([1; 32])).unwrap_err();
    assert!(matches!(error, StoreError::OtherNetwork { .. }), "{error}");
}

#[test]
fn a_copy_without_some_records_has_the_others_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (path, locations) = written(folder.path(), &[1, 2, 3, 4]);
    let mut log = RecordLog::open(&path, &Hash::ZERO).unwrap();
    let gaps = [locations[0], locations[2]].map(|place| (place.offset, place.end()));
    log.leave_out(&gaps).unwrap();
    let next = log.append(&payload(5)).unwrap();
    log.sync().unwrap();
    let log = RecordLog::open_read_only(&path, &Hash::ZERO).unwrap();
    for (place, seed) in [(locations[1], 2), (locations[3], 4), (next, 5)] {
        let found = log.read_next(place.offset).unwrap();
        assert!(matches!(found, Next::Record(at, bytes) if at == place && bytes == payload(seed)));
    }
    for (hole, behind) in [(locations[0], locations[1]), (locations[2], locations[3])] {
        assert!(matches!(log.read_next(hole.offset).unwrap(), Next::Bad(_)));
        assert_eq!(log.next_whole_after(hole.offset, "a hole").unwrap(), Some(behind.offset));
    }
}
