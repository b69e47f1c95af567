//! A small HTTP service: POST an image, get its classes as JSON. One model serves all threads.
//!
//! ```sh
//! cargo run --release -p miyasawa --example embed_in_a_service -- 127.0.0.1:8080 &
//! curl --data-binary @frog.jpg http://127.0.0.1:8080/classify
//! ```
//! Use a real HTTP library in your own program; the part with the model stays the same.

use miyasawa::prelude::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// Larger request bodies are refused, which limits its memory; set read timeouts too.
const MAX_BODY: usize = 20 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let model = Arc::new(Predictor::bundled()?);
    let listener = TcpListener::bind(&address)?;
    println!("listening on {}", listener.local_addr()?);
    for stream in listener.incoming() {
        // A connection that failed is no reason to end.
        let Ok(stream) = stream else { continue };
        let model = Arc::clone(&model);
        std::thread::spawn(move || serve(&model, stream));
    }
    Ok(())
}

/// Classifies the image in the request body; returns a JSON document and never panics.
fn classify(model: &Predictor, body: &[u8]) -> Result<String, PredictError> {
    let image = Image::decode(body)?;
    let found = model.classify(&image, Noise::Estimate)?.truncated(5);
    Ok(serde_json::to_string(&found).expect("a classification is a JSON document"))
}

fn serve(model: &Predictor, mut stream: TcpStream) {
    let (status, text) = match body(&stream) {
        Ok(body) => match classify(model, &body) {
            Ok(document) => ("200 OK", document),
            Err(error) => ("422 Unprocessable Content", explain(&error)),
        },
        Err(error) => ("400 Bad Request", explain(&error)),
    };
    let length = text.len();
    // An error here means that the client closed the connection.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    );
}

/// An error as a document.
fn explain(error: &dyn std::error::Error) -> String {
    serde_json::json!({ "error": error.to_string() }).to_string()
}

/// The body of an HTTP request.
fn body(stream: &TcpStream) -> std::io::Result<Vec<u8>> {
    let (mut reader, mut length, mut line) = (BufReader::new(stream), 0, String::new());
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        if let Some(("content-length", value)) = line
            .to_ascii_lowercase()
            .split_once(':')
            .map(|(name, value)| (name, value.trim().to_owned()))
        {
            length = value.parse().map_err(std::io::Error::other)?;
        }
        line.clear();
    }
    if length > MAX_BODY {
        return Err(std::io::Error::other("the image is too large"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(body)
}
