//! What a server is told when it starts.

use crate::error::ServeError;
use std::{net::SocketAddr, time::Duration};

/// What a server does not go beyond. Every limit holds for every client together with all others.
///
/// ```
/// use miyasawa_serve::Limits;
/// let limits = Limits { queue: 8, ..Limits::default() };
/// assert!(limits.check().is_ok());
/// assert!(Limits { queue: 0, ..limits }.check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body: usize,
    /// Pixels of an image, all its pages together; known from the header, before decoding.
    pub pixels: u64,
    /// Requests that wait for the one that is computed; more are refused.
    pub queue: usize,
    /// Time from the end of a request's header to its result, and the longest wait for a header or
    /// for a client that reads its response.
    pub timeout: Duration,
    /// Connections that are open at the same time; more wait to be accepted.
    pub connections: usize,
    /// Bytes of all bodies that are held at the same time; more are refused.
    pub memory: usize,
    /// Small images that are computed together.
    pub batch: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 32 << 20,
            pixels: 16_000_000,
            queue: 64,
            timeout: Duration::from_secs(120),
            connections: 256,
            memory: 256 << 20,
            batch: 32,
        }
    }
}

impl Limits {
    /// Checks that every limit lets something through.
    ///
    /// # Errors
    /// [`ServeError::Limit`] for the first that does not.
    pub fn check(&self) -> Result<(), ServeError> {
        let limit = |what, found: &dyn std::fmt::Debug, expected| {
            Err(ServeError::Limit { what, found: format!("{found:?}"), expected })
        };
        let some = [
            ("bytes of a body", self.body),
            ("waiting requests", self.queue),
            ("connections", self.connections),
            ("bytes of all bodies", self.memory),
            ("images of a batch", self.batch),
        ];
        for (what, found) in some {
            if found == 0 || found > MOST {
                return limit(what, &found, "1 to 2^40");
            }
        }
        if self.pixels == 0 || self.pixels > miyasawa::image::MAX_PIXELS {
            return limit("pixels", &self.pixels, "1 to 2^28");
        }
        if !(Duration::from_millis(10)..=Duration::from_secs(86_400)).contains(&self.timeout) {
            return limit("time", &self.timeout, "10 ms to a day");
        }
        if self.body > self.memory {
            return limit("bytes of a body", &self.body, "at most that of all bodies");
        }
        Ok(())
    }
}

/// Far from what the arithmetic of the limits holds.
const MOST: usize = 1 << 40;

/// Where and how to serve.
///
/// ```
/// use miyasawa_serve::Config;
/// let config = Config { bind: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
/// assert!(config.token.is_none() && !config.public);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on; port 0 lets the system choose one.
    pub bind: SocketAddr,
    /// Leave to listen on an address that other machines reach, and to serve hosts of any name, as
    /// behind a proxy.
    pub public: bool,
    /// The token that clients must show, if any.
    pub token: Option<Token>,
    /// The limits.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public: false,
            token: None,
            limits: Limits::default(),
        }
    }
}

/// A bearer token. It is never printed, and compared in constant time.
///
/// ```
/// use miyasawa_serve::Token;
/// let token = Token::new("correct horse")?;
/// assert!(token.is("correct horse") && !token.is("correct house"));
/// assert_eq!(format!("{token:?}"), "Token(..)");
/// assert!(Token::new("short").is_err());
/// # Ok::<(), miyasawa_serve::ServeError>(())
/// ```
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token of 8 or more visible ASCII characters, between which spaces may be.
    ///
    /// # Errors
    /// [`ServeError::Token`].
    pub fn new(text: &str) -> Result<Self, ServeError> {
        let wrong = |found: String| Err(ServeError::Token { found });
        let visible = |c: char| c.is_ascii_graphic() || c == ' ';
        if let Some(c) = text.chars().find(|c| !visible(*c)) {
            return wrong(format!("the character {:?}", c));
        }
        let text = text.trim();
        if text.len() < 8 {
            return wrong(format!("{} characters", text.len()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether it is this one.
    pub fn is(&self, found: &str) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.as_bytes().ct_eq(found.as_bytes()).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}
