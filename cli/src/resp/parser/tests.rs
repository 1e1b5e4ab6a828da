use super::*;

const LIMITS: Limits = Limits {
    words: 4,
    word_bytes: 1000,
    request_bytes: 1500,
    inline_bytes: 100,
    unauthenticated: false,
};

type Parsed = Result<Vec<Vec<Vec<u8>>>, ProtocolError>;

/// What comes of bytes at once.
fn all(bytes: &[u8]) -> Parsed {
    let mut parser = Parser::default();
    parser.feed(bytes);
    drain(&mut parser)
}

fn drain(parser: &mut Parser) -> Parsed {
    std::iter::from_fn(|| parser.next(&LIMITS).transpose()).collect()
}

/// What comes of them one by one.
fn one_by_one(bytes: &[u8]) -> Parsed {
    let mut parser = Parser::default();
    let mut found = Vec::new();
    for byte in bytes {
        parser.feed(&[*byte]);
        found.extend(drain(&mut parser)?);
    }
    Ok(found)
}

fn words(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|word| word.as_bytes().to_vec()).collect()
}

#[test]
fn requests_come_whole_however_they_are_cut() {
    let cases: [(&[u8], &[&[&str]]); 9] = [
        (b"*1\r\n$4\r\nPING\r\n", &[&["PING"]]),
        (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", &[&["ECHO", ""]]),
        (b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n*1\r\n", &[&["ECHO", "\r\n*1"]]),
        // Empty requests are ignored.
        (b"*0\r\n*1\r\n$4\r\nPING\r\n", &[&["PING"]]),
        (b"*-1\r\n*1\r\n$4\r\nPING\r\n", &[&["PING"]]),
        (b"\r\n\nPING\r\n", &[&["PING"]]),
        // Inline: LF alone, both mixed, and arrays in between.
        (b"PING\nPING\r\nGET  key\n", &[&["PING"], &["PING"], &["GET", "key"]]),
        (b"PING\r\n*1\r\n$4\r\nQUIT\r\nECHO 'a b'\n", &[&["PING"], &["QUIT"], &["ECHO", "a b"]]),
        (b"*1\r\n$4\r\nPI", &[]),
    ];
    for (bytes, requests) in cases {
        let requests: Vec<Vec<Vec<u8>>> = requests.iter().map(|list| words(list)).collect();
        assert_eq!(all(bytes), Ok(requests.clone()), "{}", bytes.escape_ascii());
        assert_eq!(one_by_one(bytes), Ok(requests), "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_no_request_is_refused_by_name() {
    use ProtocolError::*;
    let cases: [(&[u8], ProtocolError); 20] = [
        (b"*3000000000\r\n", Words),
        (b"*5\r\n", Words),
        (b"*99999999999999999999\r\n", Words),
        (b"*blabla\r\n", Words),
        (b"*\r\n", Words),
        (b"*+1\r\n", Words),
        (b"*3\n", Words),
        (b"*3\n$3\r\nSET\r\n", Words),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", NotBulk(b'f')),
        (b"*1\r\n:4\r\n", NotBulk(b':')),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n", Length),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n", Length),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$blabla\r\n", Length),
        (b"*1\r\n$1001\r\n", Length),
        (b"*1\r\n$4\n", Length),
        (b"*1\r\n$4\r\nPINGxx", NoEnd),
        (b"*1\r\n$4\r\nPING\n\n", NoEnd),
        (b"*1\r\n$00000000000000000000000000000000000001", TooBigLength),
        (b"SET a \"b\r\n", Quotes),
        (b"a b c d e\r\n", Words),
    ];
    for (bytes, error) in cases {
        assert_eq!(all(bytes), Err(error), "{}", bytes.escape_ascii());
        assert_eq!(one_by_one(bytes), Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_too_long_is_refused_before_it_has_come() {
    assert_eq!(all(&[b'a'; 101]), Err(ProtocolError::TooBigInline));
    assert_eq!(one_by_one(&[b'a'; 101]), Err(ProtocolError::TooBigInline));
    let two = [b"*2\r\n$1000\r\n", &[b'x'; 1000][..], b"\r\n$501\r\n"].concat();
    assert_eq!(all(&two), Err(ProtocolError::TooBig));
}

#[test]
fn without_auth_little_is_taken() {
    for (bytes, error) in [
        (&b"*11\r\n"[..], ProtocolError::UnauthenticatedWords),
        (b"*1\r\n$16385\r\n", ProtocolError::UnauthenticatedLength),
    ] {
        let mut parser = Parser::default();
        parser.feed(bytes);
        assert_eq!(parser.next(&Limits::UNAUTHENTICATED), Err(error));
    }
    let mut parser = Parser::default();
    parser.feed(b"*10\r\n$16384\r\n");
    assert_eq!(parser.next(&Limits::UNAUTHENTICATED), Ok(None));
}

#[test]
fn a_promised_length_sets_no_memory_aside() {
    let mut parser = Parser::default();
    parser.feed(b"*4000\r\n$900000\r\n");
    assert_eq!(parser.next(&Limits::authenticated(1_000_000)), Ok(None));
    let array = parser.array.as_ref().unwrap();
    assert!(array.words.capacity() <= 8 && parser.buffer.capacity() < 1000);
}

#[test]
fn numbers_are_digits_with_a_minus_at_most() {
    for (text, value) in [("0", Some(0)), ("-7", Some(-7)), ("007", Some(7))] {
        assert_eq!(number(text.as_bytes()), value);
    }
    for text in ["", "-", "+1", "1 ", "1.0", "--1", "9223372036854775808"] {
        assert_eq!(number(text.as_bytes()), None, "{text:?}");
    }
}
