//! Files and pages that hand their memory over, for images that fill much of it.

use super::image_file::Store;
use super::{Image, ImageError, ImageFile, Page};
use std::sync::Arc;

impl ImageFile {
    /// Frees the file's bytes once its last page is decoded: that page stays, and no other can be
    /// decoded any more.
    pub fn release(&mut self) {
        self.bytes = Arc::from([]);
        self.store = Store::Still;
    }
}

impl Page {
    /// The same page with colours that are made of its own, which are handed over instead of
    /// copied. Otherwise as [`with_image`](Self::with_image).
    ///
    /// # Errors
    ///
    /// Those of `change` and of `with_image`.
    pub fn map_image<E: From<ImageError>>(
        mut self,
        change: impl FnOnce(Image) -> Result<Image, E>,
    ) -> Result<Self, E> {
        let without = Image { values: Vec::new(), ..self.image };
        let image = change(std::mem::replace(&mut self.image, without))?;
        Ok(self.with_image(image)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_changes_its_own_colours_and_outlives_the_file() {
        let image = Image::filled(3, 4, 5, 0.5).unwrap();
        let bytes = image.to_png().unwrap();
        let mut file = ImageFile::read("in memory", &bytes[..]).unwrap();
        let page = file.page(0).unwrap();
        file.release();
        assert!(file.page(0).is_err() && file.pages() == 1);
        let values = page.image().values().as_ptr();
        let mut seen = None;
        let page = page.map_image(|image| {
            seen = Some(image.values().as_ptr());
            Ok::<_, ImageError>(image)
        });
        assert_eq!(seen, Some(values));
        let page = page.unwrap();
        assert_eq!((page.image().values().as_ptr(), page.image().shape()), (values, (3, 4, 5)));
        let other = Image::filled(3, 4, 4, 0.5);
        assert!(matches!(page.map_image(|_| other), Err(ImageError::Shape { .. })));
    }
}
