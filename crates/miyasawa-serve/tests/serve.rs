//! A server in this process, over real connections: every endpoint and every refusal.

#[path = "serve/client.rs"]
mod client;
#[path = "serve/limits.rs"]
mod limits;

use client::{Running, frog, shared};
use image::{DynamicImage, ImageFormat, RgbImage};
use miyasawa::image::{Format, Image, ImageFile, ImageWriter};
use miyasawa::prelude::*;
use miyasawa_serve::{Config, Token};
use std::collections::BTreeSet;
use std::path::Path;

/// A photograph of no use, with structure and some noise.
fn photo(width: u32, height: u32) -> Image {
    let pixel = |x: u32, y: u32| image::Rgb([(x * 3) as u8, (y * 2) as u8, ((x ^ y) & 64) as u8]);
    let rgb = DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, pixel));
    let mut bytes = std::io::Cursor::new(Vec::new());
    rgb.write_to(&mut bytes, ImageFormat::Png).unwrap();
    Image::decode(bytes.get_ref()).unwrap()
}

/// The bytes of a data URL.
fn decoded(url: &serde_json::Value) -> Image {
    let (head, data) = url.as_str().unwrap().split_once(',').unwrap();
    assert_eq!(head, "data:image/png;base64");
    use base64::Engine as _;
    Image::decode(&base64::engine::general_purpose::STANDARD.decode(data).unwrap()).unwrap()
}

#[test]
fn a_classification_is_that_of_the_library() {
    let (server, frog) = (shared(), frog());
    let model = Predictor::bundled().unwrap();
    let image = Image::decode(&frog).unwrap();
    let found = server.document("/v1/classify?top=3", &frog);
    assert_eq!(found["model"], "cifar10");
    let expected = model.classify(&image, Noise::Clean).unwrap().truncated(3);
    // The digits of `--json`, and so the same numbers for readers of float64.
    assert_eq!(found["classes"], serde_json::to_value(&expected).unwrap()["classes"]);
    assert_eq!(serde_json::from_value::<Classification>(found).unwrap(), expected);

    let found = server.document("/v1/classify?sigma=auto&levels=0.1,0.4&model=cifar10", &frog);
    let at = |noise| model.classify(&image, noise).unwrap().truncated(5);
    let levels: Vec<Classification> = serde_json::from_value(found["levels"].clone()).unwrap();
    assert_eq!(levels, [at(Noise::Level(0.1)), at(Noise::Level(0.4))]);
    assert_eq!(serde_json::from_value::<Classification>(found).unwrap(), at(Noise::Estimate));
}

#[test]
fn a_form_is_as_good_as_a_body() {
    let (server, frog) = (shared(), frog());
    let form = |fields: &[(&str, &[u8])]| {
        let mut body = Vec::new();
        for (name, value) in fields {
            let file = if *name == "image" { "; filename=\"frog.jpg\"" } else { "" };
            let head =
                format!("--part\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            body.extend([head.as_bytes(), value, b"\r\n"].concat());
        }
        body.extend(b"--part--\r\n");
        let media = [("Content-Type", "multipart/form-data; boundary=part")];
        server.post_with("/v1/classify", &media, &body)
    };
    let found = form(&[("top", b"3"), ("image", &frog)]);
    assert_eq!(found.status, 200, "{}", found.text());
    assert_eq!(found.json(), server.document("/v1/classify?top=3", &frog));
    let refusal = |fields: &[(&str, &[u8])]| form(fields).refusal();
    assert_eq!(refusal(&[("top", b"3")]).1, "form");
    assert_eq!(refusal(&[("image", &frog), ("image", &frog)]).1, "form");
    assert_eq!(refusal(&[("image", b"")]).1, "empty");
    assert_eq!(refusal(&[("image", &frog), ("tops", b"3")]).1, "parameter");
    let media = [("Content-Type", "multipart/form-data; boundary=other")];
    assert_eq!(server.post_with("/v1/classify", &media, b"--part--").refusal().1, "form");
    // What is quoted is shortened: here it would be as long as the form.
    let long = form(&[("image", &frog), ("top", &[b'3'; 1 << 20])]);
    assert!(long.body.len() < 4000 && long.refusal().2.contains("expected an integer from 1"));
    // Larger than what forms hold by default.
    let large = photo(1500, 1400).with_noise(0.5, 1).unwrap().to_png().unwrap();
    assert!(large.len() > 3 << 20);
    assert_eq!(form(&[("image", &large)]).status, 200);
}

#[test]
fn a_denoised_image_is_that_of_the_library_in_its_own_format() {
    let server = shared();
    let model = Predictor::from_bundled(BundledModel::Photo).unwrap();
    let noisy = photo(48, 40).with_noise(0.1, 3).unwrap().to_png().unwrap();
    let image = Image::decode(&noisy).unwrap();
    let found = server.post("/v1/denoise?sigma=0.1", &noisy);
    assert_eq!((found.status, &found.headers["content-type"][..]), (200, "image/png"));
    assert_eq!(
        (&found.headers["miyasawa-model"], &found.headers["miyasawa-sigma"][..]),
        (&"photo".to_owned(), "0.1")
    );
    let expected = model.denoise(&image, Noise::Level(0.1)).unwrap().into_image();
    assert_eq!(found.body, expected.to_png().unwrap());

    let jpeg = server.post("/v1/denoise?format=jpeg&quality=90", &noisy);
    assert_eq!(Format::of_bytes(&jpeg.body).unwrap(), Format::Jpeg);
    let again = server.post("/v1/denoise", &jpeg.body);
    assert_eq!(again.headers["content-type"], "image/jpeg");
    assert_eq!(Image::decode(&again.body).unwrap().shape(), (3, 40, 48));

    // As a document, with noise to try; behind another model, for a class.
    let clean = photo(48, 40).to_png().unwrap();
    let path = "/v1/denoise?add_noise=0.2&seed=7&sigma=0.2&before=true&model=cifar10&class=ship";
    let found = server.document(path, &clean);
    let number = |key: &str| found[key].as_f64().unwrap();
    assert!(number("psnr") > number("psnr_noisy") + 2.0, "{found}");
    let before = Image::decode(&clean).unwrap().with_noise(0.2, 7).unwrap();
    assert_eq!(decoded(&found["before"]), Image::decode(&before.to_png().unwrap()).unwrap());
    assert_eq!(decoded(&found["image"]).shape(), before.shape());
    assert_eq!((number("width"), number("height")), (48.0, 40.0));
    // A strength of nothing changes nothing.
    let same = server.post("/v1/denoise?strength=0&chroma=0&sigma=0.2", &clean);
    assert_eq!(Image::decode(&same.body).unwrap(), Image::decode(&clean).unwrap());
}

#[test]
fn all_pages_are_denoised() {
    let page = |seed| {
        let png = photo(20, 16).with_noise(0.1, seed).unwrap().to_png().unwrap();
        ImageFile::read("page", &png[..]).unwrap().page(0).unwrap()
    };
    let mut writer = ImageWriter::new(Format::Tiff);
    for seed in 0..3 {
        writer.add(Path::new("pages.tif"), &page(seed)).unwrap();
    }
    let found = shared().post("/v1/denoise?sigma=0.1", &writer.into_bytes());
    assert_eq!(found.headers["content-type"], "image/tiff");
    assert_eq!(ImageFile::read("answer", &found.body[..]).unwrap().pages(), 3);
}

#[test]
fn an_explanation_has_its_maps() {
    let found = shared().document("/v1/explain?class=frog", &frog());
    let model = Predictor::bundled().unwrap();
    let expected = model.explain(&Image::decode(&frog()).unwrap(), 6).unwrap();
    assert_eq!(
        (&found["class"], &found["label"], &found["sigma"]),
        (&"frog".into(), &6.into(), &0.2.into())
    );
    assert_eq!(found["probability"].as_f64().unwrap() as f32, expected.probability);
    assert!(found["relative_error"].as_f64().unwrap() < 1e-4);
    for name in ["input", "denoised", "class_denoised", "difference", "gradient"] {
        assert_eq!(decoded(&found["images"][name]).shape(), (3, 32, 32), "{name}");
    }
    let again = Image::decode(&expected.difference.amplified().0.to_png().unwrap()).unwrap();
    assert_eq!(decoded(&found["images"]["difference"]), again);
    assert_eq!(shared().refusal("/v1/explain", &frog()).1, "parameter");
    assert_eq!(shared().refusal("/v1/explain?class=frog&sigma=auto", &frog()).1, "parameter");
}

#[test]
fn wrong_requests_say_what_is_wrong() {
    let (server, frog) = (shared(), frog());
    let text = "expected one of: model, sigma, top, levels, add_noise, seed";
    for (path, status, code, part) in [
        ("/v1/classify?colour=red", 400, "parameter", text),
        ("/v1/classify?top=1&top=2", 400, "parameter", "expected it once"),
        ("/v1/classify?top=0", 400, "parameter", "an integer from 1"),
        ("/v1/classify?sigma=25", 400, "parameter", "25 of 255 is 0.196"),
        ("/v1/classify?sigma=much", 400, "parameter", "a noise level, `auto` or `clean`"),
        ("/v1/classify?sigma=NaN", 400, "parameter", "noise level"),
        ("/v1/classify?levels=0.1,,", 400, "parameter", "commas"),
        ("/v1/classify?add_noise=-1", 400, "parameter", "a number from 0 to 2"),
        ("/v1/classify?model=resnet", 400, "model", "cifar10, photo"),
        ("/v1/classify?model=photo", 422, "cannot", "does not classify"),
        ("/v1/denoise?class=house", 400, "parameter", "house"),
        ("/v1/denoise?model=cifar10&class=house", 400, "parameter", "airplane"),
        ("/v1/denoise?strength=2", 400, "parameter", "a number from 0 to 1.5"),
        ("/v1/denoise?format=gif", 400, "parameter", "png, jpeg"),
        ("/v1/denoise?quality=0", 400, "parameter", "1 to 100"),
        ("/v1/denoise?before=perhaps", 400, "parameter", "true or false"),
        ("/v1/explain?class=frog&model=photo", 422, "cannot", "does not"),
    ] {
        let found = server.refusal(path, &frog);
        assert_eq!((found.0, &found.1[..]), (status, code), "{path}: {}", found.2);
        assert!(found.2.contains(part), "{path}: {}", found.2);
    }
    for (body, status, code) in [
        (&b""[..], 400, "empty"),
        (b"GET me an image", 415, "format"),
        (b"%PDF-1.7 and so on", 415, "format"),
        (&frog[..frog.len() / 2], 422, "damaged"),
        (&frog[..20], 422, "damaged"),
        (b"\x89PNG\r\n\x1a\n", 422, "damaged"),
    ] {
        for path in ["/v1/classify", "/v1/denoise", "/v1/explain?class=0"] {
            let found = server.refusal(path, body);
            assert_eq!((found.0, &found.1[..]), (status, code), "{path}: {}", found.2);
        }
    }
}

#[test]
fn other_paths_and_methods_are_refused() {
    let server = shared();
    assert_eq!(server.get("/v2/classify").refusal().1, "not_found");
    let found = server.get("/v1/classify");
    assert_eq!((found.refusal().0, &found.headers["allow"][..]), (405, "POST"));
    assert_eq!(server.refusal("/health", b"").0, 405);
    for (name, value) in [("Host", "evil.example"), ("Origin", "http://evil.example")] {
        let found = server.post_with("/v1/classify", &[(name, value)], &frog()).refusal();
        assert_eq!((found.0, &found.1[..]), (403, "forbidden"), "{}", found.2);
    }
    let same = [("Host", "127.0.0.1:8"), ("Origin", "http://127.0.0.1:8")];
    assert_eq!(server.post_with("/v1/classify", &same, &frog()).status, 200);
}

#[test]
fn a_token_opens_what_is_closed() {
    let token = Some(Token::new("correct horse").unwrap());
    let server = Running::start(Config { token, ..Config::default() });
    for path in ["/", "/health", "/openapi.json"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in ["/v1/models", "/metrics", "/v1/classify", "/nothing"] {
        let found = server.get(path);
        assert_eq!(found.refusal().1, "unauthorized", "{path}");
        assert_eq!(found.headers["www-authenticate"], "Bearer");
    }
    let with = |value| {
        let headers = [("Authorization", value)];
        server.post_with("/v1/classify", &headers, &frog()).status
    };
    assert_eq!(with("Bearer correct horse"), 200);
    assert_eq!(with("bearer correct horse"), 200);
    assert_eq!([with("Bearer correct hors"), with("Basic correct horse"), with("")], [401; 3]);
}

#[test]
fn what_is_said_of_the_server_holds() {
    let server = shared();
    let models = server.get("/v1/models").json();
    let defaults = serde_json::json!(
        { "classify": "cifar10", "denoise": "photo", "explain": "cifar10" }
    );
    assert_eq!(models["defaults"], defaults);
    let hash = Predictor::bundled().unwrap().sha256().to_owned();
    assert_eq!(models["models"][0]["sha256"], hash);
    assert_eq!(models["models"][1]["tasks"], serde_json::json!(["denoise"]));
    assert_eq!(server.get("/health").json()["status"], "ok");

    let before = server.metric("miyasawa_requests_total{path=\"/v1/classify\",status=\"415\"}");
    server.refusal("/v1/classify", b"nothing");
    let after = server.metric("miyasawa_requests_total{path=\"/v1/classify\",status=\"415\"}");
    assert!(after >= before + 1.0, "{before} {after}");

    // The description has every path, every parameter and every code.
    let described = server.get("/openapi.json").json();
    assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let names: BTreeSet<&str> = described["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            if method == "get" {
                assert_eq!(server.get(path).status, 200, "{path}");
                continue;
            }
            let message = server.refusal(&format!("{path}?no=1"), &frog()).2;
            let known: BTreeSet<&str> = message.rsplit_once(": ").unwrap().1.split(", ").collect();
            assert_eq!(names, known, "{path}");
        }
    }
}

#[test]
fn the_page_is_complete_and_loads_nothing() {
    let found = shared().get("/");
    assert_eq!(found.headers["content-type"], "text/html; charset=utf-8");
    assert!(found.headers["content-security-policy"].starts_with("default-src 'none'"));
    assert_eq!(found.headers["x-content-type-options"], "nosniff");
    let text = found.text();
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("import "));
    // Every element that the program asks for is there.
    let ids: BTreeSet<&str> =
        text.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let asked = text.split("$(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let missing: Vec<&str> = asked.filter(|id| !ids.contains(id)).collect();
    assert!(missing.is_empty() && ids.len() > 20, "{missing:?}");
}
