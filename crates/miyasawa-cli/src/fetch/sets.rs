//! The data sets that can be fetched: where they are published and what their files hash to.

/// A data set.
#[derive(Debug)]
pub struct Set {
    /// The DATA argument.
    pub name: &'static str,
    /// Its folder below the folder for data sets; of an archive, the folder that it holds.
    pub folder: &'static str,
    pub files: &'static [File],
}

/// A file of a set.
#[derive(Debug)]
pub struct File {
    pub name: &'static str,
    pub md5: &'static str,
    /// What the name is appended to, the preferred first.
    pub urls: &'static [&'static str],
}

impl Set {
    /// Whether the files are archives to unpack.
    pub fn unpacked(&self) -> bool {
        self.files.iter().any(|file| file.name.ends_with(".tar.gz") || file.name.ends_with(".zip"))
    }
}

// The publisher's server is not always up; the first address is the copy that torchvision uses.
const MNIST: &[&str] =
    &["https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"];
const FASHION_MNIST: &[&str] = &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"];
const CIFAR: &[&str] = &["https://www.cs.toronto.edu/~kriz/"];
const TINY_IMAGENET: &[&str] = &["http://cs231n.stanford.edu/"];

/// All sets. The hashes of MNIST and Fashion-MNIST are those that torchvision checks, CIFAR's those
/// of its page.
pub const SETS: &[Set] = &[
    Set {
        name: "mnist",
        folder: "mnist",
        files: &[
            File {
                name: "train-images-idx3-ubyte.gz",
                md5: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                urls: MNIST,
            },
            File {
                name: "train-labels-idx1-ubyte.gz",
                md5: "d53e105ee54ea40749a09fcbcd1e9432",
                urls: MNIST,
            },
            File {
                name: "t10k-images-idx3-ubyte.gz",
                md5: "9fb629c4189551a2d022fa330f9573f3",
                urls: MNIST,
            },
            File {
                name: "t10k-labels-idx1-ubyte.gz",
                md5: "ec29112dd5afa0611ce80d1b7f02629c",
                urls: MNIST,
            },
        ],
    },
    Set {
        name: "fashion-mnist",
        folder: "fashion-mnist",
        files: &[
            File {
                name: "train-images-idx3-ubyte.gz",
                md5: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                urls: FASHION_MNIST,
            },
            File {
                name: "train-labels-idx1-ubyte.gz",
                md5: "25c81989df183df01b3e8a0aad5dffbe",
                urls: FASHION_MNIST,
            },
            File {
                name: "t10k-images-idx3-ubyte.gz",
                md5: "bef4ecab320f06d8554ea6380940ec79",
                urls: FASHION_MNIST,
            },
            File {
                name: "t10k-labels-idx1-ubyte.gz",
                md5: "bb300cfdad3c16e7a12a480ee83cd310",
                urls: FASHION_MNIST,
            },
        ],
    },
    Set {
        name: "cifar10",
        folder: "cifar-10-batches-bin",
        files: &[File {
            name: "cifar-10-binary.tar.gz",
            md5: "c32a1d4ab5d03f1284b67883e8d87530",
            urls: CIFAR,
        }],
    },
    Set {
        name: "cifar100",
        folder: "cifar-100-binary",
        files: &[File {
            name: "cifar-100-binary.tar.gz",
            md5: "03b5dce01913d631647c71ecec9e9cb8",
            urls: CIFAR,
        }],
    },
    Set {
        name: "tiny-imagenet",
        folder: "tiny-imagenet-200",
        files: &[File {
            name: "tiny-imagenet-200.zip",
            md5: "90528d7ca1a48142e341f4ef8d21d0de",
            urls: TINY_IMAGENET,
        }],
    },
];
