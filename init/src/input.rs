//! What Linux's input devices say (Documentation/input/input.rst): which keys they have, and which was pressed.

/// `KEY_POWER` of include/uapi/linux/input-event-codes.h.
const KEY_POWER: u16 = 116;

/// The event's type: a key changed.
const EV_KEY: u16 = 1;

/// The event's value: it went down. 0 is up, 2 is that it is being held.
const DOWN: i32 = 1;

/// Type, code and value at the end of an event.
const CONTENT: usize = 8;

/// The size of `struct input_event`: two machine words for the time, then the content.
pub const EVENT: usize = 2 * size_of::<usize>() + CONTENT;

/// Whether a device has a power button, from the bits of its keys.
pub fn has_power_button(keys: &[u8]) -> bool {
    keys.get(usize::from(KEY_POWER / 8)).is_some_and(|byte| byte >> (KEY_POWER % 8) & 1 == 1)
}

/// Whether the power button was pressed, in what was read from a device.
pub fn is_power_pressed(events: &[u8]) -> bool {
    events.chunks_exact(EVENT).any(|event| match event.last_chunk::<CONTENT>() {
        Some(&[t0, t1, c0, c1, value @ ..]) => {
            // The processor's own byte order, for the kernel is on the same one.
            u16::from_ne_bytes([t0, t1]) == EV_KEY
                && u16::from_ne_bytes([c0, c1]) == KEY_POWER
                && i32::from_ne_bytes(value) == DOWN
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(kind: u16, code: u16, value: i32) -> Vec<u8> {
        [&[7; EVENT - CONTENT][..], &kind.to_ne_bytes(), &code.to_ne_bytes(), &value.to_ne_bytes()].concat()
    }

    #[test]
    fn only_pressing_the_power_button_counts() {
        let (down, up, sync) = (event(EV_KEY, KEY_POWER, 1), event(EV_KEY, KEY_POWER, 0), event(0, 0, 0));
        assert!(is_power_pressed(&[&sync[..], &down, &sync].concat()));
        assert!(!is_power_pressed(&[&up[..], &sync, &event(EV_KEY, 30, 1), &event(2, KEY_POWER, 1)].concat()));
        assert!(!is_power_pressed(&event(EV_KEY, KEY_POWER, 2)));
        assert!(!is_power_pressed(&down[1..]));
    }

    #[test]
    fn a_power_button_is_one_bit_of_many() {
        let mut keys = [0; 96];
        assert!(!has_power_button(&keys));
        keys[14] = 0x10;
        assert!(has_power_button(&keys));
        assert!(!has_power_button(&keys.map(|byte| !byte)));
        assert!(!has_power_button(&[]));
    }

    proptest! {
        #[test]
        fn no_bytes_stop_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            is_power_pressed(&bytes);
            has_power_button(&bytes);
        }
    }
}
