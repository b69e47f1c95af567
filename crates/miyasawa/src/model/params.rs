//! Parameters of a module by name, as host data and as flat tensors.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Shape, Tensor, TensorData};
use std::collections::BTreeMap;

/// Parameters by their dotted path, `stages.0.1.conv1.weight`.
pub type ParamMap = BTreeMap<String, TensorData>;

#[derive(Default)]
struct Names {
    path: Vec<Option<String>>,
}

impl Names {
    /// A field `net` and the variant of an enum wrap a network: names are those within the network.
    fn enter(&mut self, name: &str, container: &str) {
        let wraps = name == "net" || container.starts_with("Enum:");
        self.path.push((!wraps).then(|| name.to_owned()));
    }

    fn exit(&mut self) {
        self.path.pop();
    }

    fn name(&self) -> String {
        self.path.iter().flatten().cloned().collect::<Vec<_>>().join(".")
    }
}

/// Visits the parameters, or their gradients where there are any: shape and flattened value by
/// name.
struct Collect<'g> {
    names: Names,
    gradients: Option<&'g mut Gradients>,
    out: BTreeMap<String, (Shape, Tensor<1>)>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.names.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.names.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = match &mut self.gradients {
            Some(gradients) => param.val().grad_remove(gradients),
            None => Some(param.val()),
        };
        let Some(value) = value else { return };
        let value = if value.is_autodiff() { value.inner() } else { value };
        self.out.insert(self.names.name(), (value.shape(), value.reshape([-1])));
    }
}

fn visit(
    module: &impl Module,
    gradients: Option<&mut Gradients>,
) -> BTreeMap<String, (Shape, Tensor<1>)> {
    let mut visitor = Collect { names: Names::default(), gradients, out: BTreeMap::new() };
    module.visit(&mut visitor);
    visitor.out
}

fn on_host(tensors: BTreeMap<String, (Shape, Tensor<1>)>) -> ParamMap {
    let data = |(shape, value): (Shape, Tensor<1>)| {
        let (bytes, _, dtype) = value.into_data().into_parts();
        TensorData::from_bytes(bytes, shape, dtype)
    };
    tensors.into_iter().map(|(name, tensor)| (name, data(tensor))).collect()
}

/// Copies every parameter of a module to the host.
pub fn collect(module: &impl Module) -> ParamMap {
    on_host(visit(module, None))
}

/// Copies the gradient of every parameter that has one to the host and removes it from `gradients`.
pub fn gradients(module: &impl Module, gradients: &mut Gradients) -> ParamMap {
    on_host(visit(module, Some(gradients)))
}

/// Tensors by parameter name, each flattened to one dimension and outside autodiff.
pub type FlatMap = BTreeMap<String, Tensor<1>>;

/// As [`gradients`], and they stay on their device.
pub fn take_gradients(module: &impl Module, gradients: &mut Gradients) -> FlatMap {
    visit(module, Some(gradients)).into_iter().map(|(name, (_, value))| (name, value)).collect()
}

struct Update<F> {
    names: Names,
    update: F,
}

impl<F: FnMut(&str, &[usize], Tensor<1>) -> Tensor<1>> ModuleMapper for Update<F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.names.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.names.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.names.name();
        param.map(|old| {
            let (shape, tracked) = (old.shape(), old.is_require_grad());
            let flat = if old.is_autodiff() { old.inner() } else { old }.reshape([-1]);
            let new = (self.update)(&name, &shape, flat).reshape(shape);
            if tracked { Tensor::from_inner(new).require_grad() } else { new }
        })
    }
}

/// Replaces every parameter by `update(name, shape, flattened value)`, which has the same length.
/// The value is moved in, so that it may be updated in place.
pub fn update<M: Module>(
    module: M,
    update: impl FnMut(&str, &[usize], Tensor<1>) -> Tensor<1>,
) -> M {
    module.map(&mut Update { names: Names::default(), update })
}

struct Untrack;

impl ModuleMapper for Untrack {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param
            .map(|old| if old.is_autodiff() { old.detach() } else { old.autodiff() })
            .set_require_grad(false)
    }
}

/// The module on the autodiff device with parameters that are not tracked: a reverse pass computes
/// gradients for its inputs and none for its parameters.
pub fn untracked<M: Module>(module: M) -> M {
    module.map(&mut Untrack)
}

/// A parameter that does not match the module.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParamError {
    /// The module has it, the map does not.
    #[error("parameter {0} is missing")]
    Missing(String),
    /// The map has it, the module does not.
    #[error("parameter {0} is not part of the model")]
    Unknown(String),
    /// Same name, another shape.
    #[error("parameter {name} has shape {found:?}, the model expects {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// The module's shape.
        expected: Vec<usize>,
        /// The map's shape.
        found: Vec<usize>,
    },
    /// No network has such a configuration.
    #[error("{0}")]
    Config(String),
    /// There are fewer of them than the model's.
    #[error("there are {found} parameters, the model expects {expected}")]
    Count {
        /// The model's.
        expected: u128,
        /// The map's.
        found: u128,
    },
}

/// Compares the number of values with that of a model, before one is made. Surplus
/// parameters are reported when they are assigned.
///
/// # Errors
/// If there are fewer.
pub(super) fn check_count(values: &ParamMap, expected: u128) -> Result<(), ParamError> {
    let size = |shape: &[usize]| shape.iter().map(|n| *n as u128).product::<u128>();
    let found: u128 = values.values().map(|data| size(data.shape())).sum();
    if found >= expected { Ok(()) } else { Err(ParamError::Count { expected, found }) }
}

struct Assign {
    names: Names,
    values: ParamMap,
    error: Option<ParamError>,
}

impl ModuleMapper for Assign {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.names.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.names.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.names.name();
        let Some(data) = self.values.remove(&name) else {
            self.error.get_or_insert(ParamError::Missing(name));
            return param;
        };
        let expected = param.lazy_shape();
        if *data.shape() != expected {
            let (expected, found) = (expected.to_vec(), data.shape().to_vec());
            self.error.get_or_insert(ParamError::Shape { name, expected, found });
            return param;
        }
        param.map(|old| {
            let tracked = old.is_require_grad();
            let new = Tensor::from_data(data, &old.device());
            if tracked { new.require_grad() } else { new }
        })
    }
}

/// The module with every parameter replaced by the value of its name.
///
/// # Errors
/// If a name is missing, unknown, or has another shape.
pub fn assign<M: Module>(module: M, values: ParamMap) -> Result<M, ParamError> {
    let mut mapper = Assign { names: Names::default(), values, error: None };
    let module = module.map(&mut mapper);
    match (mapper.error, mapper.values.into_keys().next()) {
        (Some(error), _) => Err(error),
        (None, Some(name)) => Err(ParamError::Unknown(name)),
        (None, None) => Ok(module),
    }
}
