//! A graph as it is built: named values, nodes in the order of their computation, constants.

use super::proto::{
    AttributeProto, AttributeType, DataType, DimensionProto, GraphProto, NodeProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::{Dtype, OnnxError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// A tensor of the graph, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value(Rc<str>);

impl Value {
    fn new(name: &str) -> Self {
        Self(name.into())
    }
}

/// An attribute of a node.
#[derive(Clone, Debug)]
pub enum Attribute {
    Int(&'static str, i64),
    Ints(&'static str, Vec<i64>),
    Type(&'static str, DataType),
}

impl Attribute {
    fn proto(&self) -> AttributeProto {
        let of = |name: &str, r#type: AttributeType| AttributeProto {
            name: name.to_owned(),
            r#type: r#type as i32,
            ..AttributeProto::default()
        };
        match self {
            Self::Int(name, i) => AttributeProto { i: Some(*i), ..of(name, AttributeType::Int) },
            Self::Ints(name, ints) => {
                AttributeProto { ints: ints.clone(), ..of(name, AttributeType::Ints) }
            }
            Self::Type(name, data) => {
                AttributeProto { i: Some(*data as i64), ..of(name, AttributeType::Int) }
            }
        }
    }
}

/// A size of an input or output.
#[derive(Clone, Copy, Debug)]
pub enum Size {
    Fixed(usize),
    /// Known when the graph runs.
    Named(&'static str),
}

/// An input or output: its name, type and shape, and a sentence on it.
pub struct Port<'p> {
    pub name: &'p str,
    pub data: DataType,
    pub shape: &'p [Size],
    pub about: &'p str,
}

impl Port<'_> {
    fn proto(&self) -> ValueInfoProto {
        let dim = |size: &Size| match size {
            Size::Fixed(n) => DimensionProto { dim_value: Some(*n as i64), dim_param: None },
            Size::Named(name) => {
                DimensionProto { dim_value: None, dim_param: Some((*name).to_owned()) }
            }
        };
        let shape = TensorShapeProto { dim: self.shape.iter().map(dim).collect() };
        let tensor = TensorTypeProto { elem_type: self.data as i32, shape: Some(shape) };
        ValueInfoProto {
            name: self.name.to_owned(),
            r#type: Some(TypeProto { tensor_type: Some(tensor) }),
            doc_string: self.about.to_owned(),
        }
    }
}

/// A graph that grows. A node with the inputs and attributes of an earlier one is the earlier one,
/// so that what the forward pass and the adjoint both need is computed once.
pub struct Graph {
    proto: GraphProto,
    dtype: Dtype,
    /// Begins the names of nodes.
    scope: String,
    made: HashMap<String, Value>,
    counts: BTreeMap<String, usize>,
}

impl Graph {
    pub fn new(name: &str, dtype: Dtype) -> Self {
        let proto = GraphProto { name: name.to_owned(), ..GraphProto::default() };
        let (made, counts) = (HashMap::new(), BTreeMap::new());
        Self { proto, dtype, scope: String::new(), made, counts }
    }

    /// The finished graph: what no output depends on is left out.
    pub fn finish(self) -> GraphProto {
        let mut graph = self.proto;
        let mut needed: BTreeSet<String> =
            graph.output.iter().map(|port| port.name.clone()).collect();
        // Inputs come before the nodes that read them.
        let nodes: Vec<NodeProto> = std::mem::take(&mut graph.node);
        for node in nodes.into_iter().rev() {
            if node.output.iter().any(|output| needed.contains(output)) {
                needed.extend(node.input.iter().cloned());
                graph.node.push(node);
            }
        }
        graph.node.reverse();
        graph.initializer.retain(|tensor| needed.contains(&tensor.name));
        graph
    }

    /// The part of the network that the next nodes belong to, for their names.
    pub fn scope(&mut self, name: impl Into<String>) {
        self.scope = name.into();
    }

    pub fn input(&mut self, port: &Port<'_>) -> Value {
        self.proto.input.push(port.proto());
        Value::new(port.name)
    }

    /// Makes a value an output.
    pub fn output(&mut self, port: &Port<'_>, value: &Value) {
        self.proto.output.push(port.proto());
        // An output has a name of its own; this node copies nothing in any runtime that optimises.
        self.proto.node.push(NodeProto {
            input: vec![value.0.to_string()],
            output: vec![port.name.to_owned()],
            name: format!("output/{}", port.name),
            op_type: "Identity".to_owned(),
            ..NodeProto::default()
        });
    }

    /// The value of an operator of the standard domain.
    pub fn node(&mut self, op: &str, inputs: &[&Value], attributes: &[Attribute]) -> Value {
        let key = format!("{op} {inputs:?} {attributes:?}");
        if let Some(value) = self.made.get(&key) {
            return value.clone();
        }
        let stem = match self.scope.as_str() {
            "" => op.to_owned(),
            scope => format!("{scope}/{op}"),
        };
        let count = self.counts.entry(stem.clone()).or_default();
        *count += 1;
        let name = format!("{stem}_{count}");
        self.proto.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.to_string()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: op.to_owned(),
            attribute: attributes.iter().map(Attribute::proto).collect(),
            domain: String::new(),
        });
        let value = Value::new(&name);
        self.made.insert(key, value.clone());
        value
    }

    fn initializer(&mut self, name: &str, dims: &[usize], data: DataType, raw: Vec<u8>) -> Value {
        let value = Value::new(name);
        self.proto.initializer.push(TensorProto {
            dims: dims.iter().map(|n| *n as i64).collect(),
            data_type: data as i32,
            name: name.to_owned(),
            raw_data: raw,
        });
        value
    }

    /// A constant in float32, of any shape; equal ones are one.
    pub fn floats(&mut self, dims: &[usize], values: &[f32]) -> Value {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(dims, DataType::Float, raw)
    }

    /// A number.
    pub fn scalar(&mut self, value: f64) -> Value {
        self.floats(&[], &[value as f32])
    }

    /// A list of integers.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(&[values.len()], DataType::Int64, raw)
    }

    fn constant(&mut self, dims: &[usize], data: DataType, raw: Vec<u8>) -> Value {
        let key = format!("constant {dims:?} {data:?} {raw:?}");
        if let Some(value) = self.made.get(&key) {
            return value.clone();
        }
        let count = self.counts.entry("constant".to_owned()).or_default();
        *count += 1;
        let name = format!("constant_{count}");
        let value = self.initializer(&name, dims, data, raw);
        self.made.insert(key, value.clone());
        value
    }

    /// A parameter of the network: a matrix or the weight of a convolution in the type of the
    /// export, cast to float32 in the graph; a vector in float32.
    ///
    /// # Errors
    /// If a value is too large for the type.
    pub fn parameter(
        &mut self,
        name: &str,
        dims: &[usize],
        values: &[f32],
    ) -> Result<Value, OnnxError> {
        let key = format!("parameter {name}");
        if let Some(value) = self.made.get(&key) {
            return Ok(value.clone());
        }
        let dtype = if dims.len() < 2 { Dtype::F32 } else { self.dtype };
        let (data, raw) = stored(name, values, dtype)?;
        let mut value = self.initializer(name, dims, data, raw);
        if data != DataType::Float {
            value = self.node("Cast", &[&value], &[Attribute::Type("to", DataType::Float)]);
        }
        self.made.insert(key, value.clone());
        Ok(value)
    }
}

/// The values in the type that they are stored in.
fn stored(name: &str, values: &[f32], dtype: Dtype) -> Result<(DataType, Vec<u8>), OnnxError> {
    let too_large = |value: f32| OnnxError::TooLarge { name: name.to_owned(), value, dtype };
    let (data, raw): (_, Result<Vec<[u8; 2]>, _>) = match dtype {
        Dtype::F32 => {
            let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            return Ok((DataType::Float, raw));
        }
        Dtype::F16 => {
            let half = |value: &f32| match half::f16::from_f32(*value) {
                found if found.is_finite() => Ok(found.to_le_bytes()),
                _ => Err(too_large(*value)),
            };
            (DataType::Float16, values.iter().map(half).collect())
        }
        Dtype::Bf16 => {
            let half = |value: &f32| match half::bf16::from_f32(*value) {
                found if found.is_finite() => Ok(found.to_le_bytes()),
                _ => Err(too_large(*value)),
            };
            (DataType::Bfloat16, values.iter().map(half).collect())
        }
    };
    Ok((data, raw?.into_flattened()))
}

/// Operators by their names.
impl Graph {
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Add", &[a, b], &[])
    }

    pub fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Sub", &[a, b], &[])
    }

    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Mul", &[a, b], &[])
    }

    pub fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.node("Div", &[a, b], &[])
    }

    pub fn unary(&mut self, op: &str, x: &Value) -> Value {
        self.node(op, &[x], &[])
    }

    /// `x*by`.
    pub fn scale(&mut self, x: &Value, by: f64) -> Value {
        let by = self.scalar(by);
        self.mul(x, &by)
    }

    /// `x + by`.
    pub fn shift(&mut self, x: &Value, by: f64) -> Value {
        let by = self.scalar(by);
        self.add(x, &by)
    }

    /// Sizes from the dimension `start` to the one before `end`.
    pub fn shape(&mut self, x: &Value, start: i64, end: i64) -> Value {
        let attributes = [Attribute::Int("start", start), Attribute::Int("end", end)];
        self.node("Shape", &[x], &attributes)
    }

    /// `x` in the shape `dims`: 0 keeps a size, -1 is what is left.
    pub fn reshape(&mut self, x: &Value, dims: &[i64]) -> Value {
        let dims = self.ints(dims);
        self.node("Reshape", &[x, &dims], &[])
    }

    /// The mean over axes.
    pub fn mean(&mut self, x: &Value, axes: &[i64], keep: bool) -> Value {
        self.node(
            "ReduceMean",
            &[x],
            &[Attribute::Ints("axes", axes.to_vec()), Attribute::Int("keepdims", i64::from(keep))],
        )
    }

    /// The sum over axes, which go.
    pub fn sum(&mut self, x: &Value, axes: &[i64]) -> Value {
        let axes = self.ints(axes);
        self.node("ReduceSum", &[x, &axes], &[Attribute::Int("keepdims", 0)])
    }

    /// `x` from `start` to the one before `end` of an axis.
    pub fn slice(&mut self, x: &Value, axis: i64, start: usize, end: usize) -> Value {
        let [start, end, axis] = [start as i64, end as i64, axis].map(|n| self.ints(&[n]));
        self.node("Slice", &[x, &start, &end, &axis], &[])
    }
}
