use super::*;
use crate::resp::parser::Limits;

fn client() -> Client {
    Client::new(Millis(0), true, 20, ([127, 0, 0, 1], 1).into())
}

fn lines(client: &mut Client) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| client.next_line().unwrap()).collect()
}

#[test]
fn lines_come_whole_however_they_are_cut() {
    let mut whole = client();
    whole.received(Millis(0), b"one\r\ntwo\n\nlast");
    let mut cut = client();
    let mut got = Vec::new();
    for byte in b"one\r\ntwo\n\nlast" {
        cut.received(Millis(0), &[*byte]);
        got.extend(lines(&mut cut));
    }
    assert_eq!(lines(&mut whole), got);
    assert_eq!(got, [&b"one"[..], b"two", b""]);
    whole.end();
    assert_eq!(lines(&mut whole), [b"last"]);
}

#[test]
fn a_busy_client_waits_and_a_long_line_is_refused() {
    let mut client = client();
    client.received(Millis(0), b"one\ntwo\n");
    assert!(client.next_line().unwrap().is_some());
    client.busy = true;
    assert!(client.next_line().unwrap().is_none());
    client.busy = false;
    assert!(client.next_line().unwrap().is_some());
    client.received(Millis(0), &[b'x'; 21]);
    assert_eq!(client.next_line().unwrap_err().code, Code::TooLong);
}

#[test]
fn the_first_byte_of_the_redis_protocol_is_told_apart() {
    let mut client = client();
    client.received(Millis(0), b"one\n*1\r\n$4\r\nPI");
    assert!(!client.turns_to_redis());
    assert_eq!(client.next_line().unwrap().unwrap(), b"one");
    assert!(client.turns_to_redis());
    client.turn_to_redis(Millis(0));
    client.received(Millis(0), b"NG\r\n");
    let session = client.redis.as_mut().unwrap();
    let words = session.parser.next(&Limits::UNAUTHENTICATED);
    assert_eq!(words, Ok(Some(vec![b"PING".to_vec()])));
}

#[test]
fn reading_pauses_at_the_bound_and_goes_on_below() {
    let mut client = client();
    client.busy = true;
    let id = ClientId(1);
    client.received(Millis(0), &vec![b'\n'; 20 + READ_AHEAD_BYTES]);
    assert_eq!(client.flow(id), None);
    client.received(Millis(0), b"\n");
    assert_eq!(client.flow(id), Some(ServiceOutput::Pause { client: id }));
    assert_eq!(client.flow(id), None);
    client.busy = false;
    lines(&mut client);
    assert_eq!(client.flow(id), Some(ServiceOutput::Resume { client: id }));
}
