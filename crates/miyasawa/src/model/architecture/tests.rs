//! Descriptions written, read back, and refused.

use super::*;
use burn::module::Module;
use burn::tensor::TensorData;

fn all() -> Vec<Architecture> {
    let operands = crate::ops::Operands::F32;
    let dncnn = |bias_free, conditioned| {
        Architecture::DnCnn(DnCnnConfig {
            channels: 3,
            width: 8,
            depth: 5,
            bias_free,
            conditioned,
            operands,
        })
    };
    let unet = |bias_free, conditioned| {
        let blocks = vec![1, 2, 1];
        Architecture::UNet(UNetConfig {
            channels: 1,
            width: 4,
            blocks,
            bias_free,
            conditioned,
            operands,
        })
    };
    vec![
        Architecture::GradResNet(GradResNetConfig { width: 8, ..GradResNetConfig::new(3, 10) }),
        Architecture::ResNet18(ResNetConfig {
            channels: 3,
            classes: 7,
            width: 8,
            blocks: vec![1, 2, 1],
            operands,
        }),
        dncnn(false, false),
        dncnn(true, true),
        unet(true, true),
        unet(false, false),
    ]
}

#[test]
fn what_is_written_reads_back_and_an_old_description_is_a_gradresnet() {
    for architecture in all() {
        let text = serde_json::to_string(&architecture).unwrap();
        assert!(text.starts_with(&format!("{{\"kind\":\"{}\"", architecture.kind())), "{text}");
        assert_eq!(serde_json::from_str::<Architecture>(&text).unwrap(), architecture);
    }
    let old = r#"{"channels":1,"classes":10,"width":8,"blocks":[1],
        "blind":true,"zero_energy_head":true}"#;
    assert_eq!(serde_json::from_str::<Architecture>(old).unwrap().kind(), Kind::GradResNet);
    for wrong in [r#"{"kind":"vit"}"#, r#"{"kind":"dncnn","channels":1}"#, "{}", "[]"] {
        assert!(serde_json::from_str::<Architecture>(wrong).is_err(), "{wrong}");
    }
    let more = old.replace("}", ",\"depth\":3}");
    assert!(serde_json::from_str::<Architecture>(&more).unwrap_err().to_string().contains("depth"));
}

#[test]
fn the_number_of_values_is_counted_without_allocating() {
    let device = Device::flex();
    for architecture in all() {
        let model = architecture.init(&device, 1, 0.5);
        let values = params::collect(&model);
        let same = architecture.with_params(values.clone(), &device, 0.5).unwrap();
        assert_eq!(params::collect(&same), values, "{architecture:?}");
        assert!(model.num_params() > 100);
        let mut fewer = values.clone();
        fewer.pop_first();
        let error = architecture.with_params(fewer, &device, 0.5).unwrap_err();
        assert!(matches!(error, ParamError::Count { .. }), "{error}");
    }
}

/// A network that would take terabytes, claimed by a file of a few kilobytes.
#[test]
fn nothing_is_allocated_for_what_is_not_there() {
    let text = r#"{"channels":1,"classes":1,"width":1024,"blocks":[65536],
        "blind":true,"zero_energy_head":true}"#;
    let hostile: Architecture = serde_json::from_str(text).unwrap();
    assert_eq!(hostile.validate(), Ok(()));
    let value = |shape: Vec<usize>| TensorData::zeros::<f32, _>(shape);
    let values = [
        ("stem.weight".to_owned(), value(vec![1024, 1, 3, 3])),
        ("stages.0.0.conv1.weight".to_owned(), value(vec![1024, 1024, 3, 3])),
        ("stages.0.65535.conv1.weight".to_owned(), value(vec![1024, 1024, 3, 3])),
        ("class_head.weight".to_owned(), value(vec![1, 1024])),
    ];
    let error =
        hostile.with_params(values.into_iter().collect(), &Device::flex(), 0.5).unwrap_err();
    assert!(error.to_string().contains("stages.0.1.conv1.weight"), "{error}");
    let Architecture::GradResNet(config) = hostile else { panic!("another kind") };
    assert!(config.values() > 1 << 40);
}

#[test]
fn hostile_numbers_are_refused() {
    for (text, word) in [
        (r#"{"kind":"resnet18","channels":3,"classes":0,"width":8,"blocks":[1]}"#, "classes"),
        (r#"{"kind":"resnet18","channels":3,"classes":2,"width":8,"blocks":[]}"#, "blocks"),
        // 11 channels are one group, 22 are two, 44 would be five; 7 channels make 28 in the third
        // stage, three groups.
        (
            r#"{"channels":1,"classes":10,"width":11,"blocks":[1,1,1],
                "blind":true,"zero_energy_head":true}"#,
            "44 channels",
        ),
        (
            r#"{"channels":1,"classes":10,"width":7,"blocks":[1,1,1],
                "blind":true,"zero_energy_head":true}"#,
            "28 channels",
        ),
        (
            r#"{"kind":"unet","channels":3,"width":99999999,"blocks":[1],
                "bias_free":true,"conditioned":true}"#,
            "width",
        ),
        (
            r#"{"kind":"dncnn","channels":3,"width":8,"depth":1,
                "bias_free":true,"conditioned":true}"#,
            "depth",
        ),
    ] {
        let found = serde_json::from_str::<Architecture>(text).unwrap().validate().unwrap_err();
        assert!(found.contains(word), "{found}");
    }
}
