//! Floods of connections, garbage, questions and announcements against a node in the middle of two
//! others: what those two have to tell each other arrives in time, and the node stays small.

mod floods {
    mod attackers;
    mod line;
    mod siege;
}
