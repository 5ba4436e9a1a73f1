//! A binary min-heap in the very moves of Java's `PriorityQueue`, because those decide the order of equals: which queue
//! is next, which schedule fires first.

/// A heap of items whose order is given with each call, since it may lie outside of them.
#[derive(Debug)]
pub(crate) struct Heap<T> {
    // Invariant: no parent is greater than its children, by the order of the calls.
    items: Vec<T>,
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<T> Heap<T> {
    pub(crate) fn first(&self) -> Option<&T> {
        self.items.first()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }

    /// The items, to change what their order does not rest on.
    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.items.iter_mut()
    }

    /// Adds an item: at the end, from where it rises while strictly less than its parent.
    pub(crate) fn push<O: Ord>(&mut self, item: T, order: impl Fn(&T) -> O) {
        self.items.push(item);
        let mut place = self.items.len() - 1;
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.order_at(place, &order) >= self.order_at(parent, &order) {
                break;
            }
            self.items.swap(place, parent);
            place = parent;
        }
    }

    /// Takes the least item. The last takes its place, from where it sinks to the smaller child, the left one if both
    /// are equal, while that is strictly less.
    pub(crate) fn pop<O: Ord>(&mut self, order: impl Fn(&T) -> O) -> Option<T> {
        let last = self.items.pop()?;
        let Some(root) = self.items.first_mut() else {
            return Some(last);
        };
        let first = std::mem::replace(root, last);
        let mut place = 0;
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            if left >= self.items.len() {
                return Some(first);
            }
            let is_right =
                right < self.items.len() && self.order_at(right, &order) < self.order_at(left, &order);
            let child = if is_right { right } else { left };
            if self.order_at(child, &order) >= self.order_at(place, &order) {
                return Some(first);
            }
            self.items.swap(place, child);
            place = child;
        }
    }

    /// Removes what `keep` is false for. What stays is put into a heap again in the order it had.
    pub(crate) fn retain<O: Ord>(&mut self, keep: impl Fn(&T) -> bool, order: impl Fn(&T) -> O) {
        if self.items.iter().all(&keep) {
            return;
        }
        for item in std::mem::take(&mut self.items) {
            if keep(&item) {
                self.push(item, &order);
            }
        }
    }

    fn order_at<O: Ord>(&self, place: usize, order: &impl Fn(&T) -> O) -> Option<O> {
        self.items.get(place).map(order)
    }
}
