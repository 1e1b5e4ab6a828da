//! Bugs of the port that were found, each by its name.

use super::parts::Parts;
use crate::requests;

/// The answer was taken for one of the line port, and stopped the node.
#[test]
fn the_answer_to_a_client_that_is_gone_is_dropped() {
    let mut parts = Parts::new();
    let (one, other) = (parts.connect(), parts.connect());
    parts.send(one, &requests(&["GET a", "GET b", "GET c"]));
    parts.send(other, b"RETRIEVE a\n");
    parts.hang_up(one);
    parts.hang_up(other);
    let jobs = parts.questions();
    assert_eq!(jobs.len(), 4);
    for job in jobs {
        let event = parts.read(&job);
        parts.port_is_told(event);
    }
    let next = parts.connect();
    assert_eq!(parts.ask(next, "GET a"), "$-1\r\n");
}
