// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Uses a screen and a sound card, without the libraries that desktops have for it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Does what the arguments say, if it is known here.
pub(crate) fn run(args: &[OsString]) -> bool {
    let words: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
    match words.as_slice() {
        ["tone", device, hz, seconds] => {
            tone(device, hz.parse().unwrap(), seconds.parse().unwrap());
        }
        ["unmute", control] => unmute(control),
        ["paint", framebuffer, colours @ ..] if !colours.is_empty() => paint(framebuffer, colours),
        _ => return false,
    }
    true
}

/// Upright bars of equal width, each in a colour written as RRGGBB.
fn paint(framebuffer: &str, colours: &[&str]) {
    let name = Path::new(framebuffer).file_name().unwrap();
    let fact = |file: &str| {
        let path = Path::new("/sys/class/graphics").join(name).join(file);
        fs::read_to_string(path).unwrap().trim().to_owned()
    };
    let size = fact("virtual_size");
    let (width, height) = size.split_once(',').unwrap();
    let (width, height): (usize, usize) = (width.parse().unwrap(), height.parse().unwrap());
    let stride: usize = fact("stride").parse().unwrap();
    assert_eq!(fact("bits_per_pixel"), "32");
    let mut row: Vec<u8> = (0..width)
        .flat_map(|x| {
            let colour = colours[x * colours.len() / width];
            u32::from_str_radix(colour, 16).unwrap().to_le_bytes()
        })
        .collect();
    row.resize(stride, 0);
    let mut file = OpenOptions::new().write(true).open(framebuffer).unwrap();
    file.write_all(&row.repeat(height)).unwrap();
    println!("{width} {height}");
}

// What follows is of sound/asound.h: numbers of requests, and structures.

const HW_PARAMS: libc::Ioctl = request(3, b'A', 0x11, size_of::<HwParams>());
const PREPARE: libc::Ioctl = request(0, b'A', 0x40, 0);
const DRAIN: libc::Ioctl = request(0, b'A', 0x44, 0);
const WRITE_FRAMES: libc::Ioctl = request(1, b'A', 0x50, size_of::<Frames>());
const ELEM_LIST: libc::Ioctl = request(3, b'U', 0x10, size_of::<ElemList>());
const ELEM_INFO: libc::Ioctl = request(3, b'U', 0x11, size_of::<ElemInfo>());
const ELEM_WRITE: libc::Ioctl = request(3, b'U', 0x13, size_of::<ElemValue>());

/// `_IOC` of asm-generic/ioctl.h.
#[allow(clippy::cast_possible_truncation)] // sizes have 14 bits
const fn request(direction: u32, kind: u8, number: u32, size: usize) -> libc::Ioctl {
    (direction << 30 | (size as u32) << 16 | (kind as u32) << 8 | number) as libc::Ioctl
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Interval {
    min: u32,
    max: u32,
    /// openmin, openmax, integer, empty
    bits: u32,
}

/// `snd_pcm_hw_params`
#[repr(C)]
struct HwParams {
    flags: u32,
    masks: [[u32; 8]; 8],
    intervals: [Interval; 21],
    rmask: u32,
    cmask: u32,
    info: u32,
    msbits: u32,
    rate_num: u32,
    rate_den: u32,
    fifo_size: libc::c_ulong,
    reserved: [u8; 64],
}

/// `snd_xferi`
#[repr(C)]
struct Frames {
    result: libc::c_long,
    buffer: *const i16,
    frames: libc::c_ulong,
}

/// `snd_ctl_elem_id`
#[repr(C)]
#[derive(Clone, Copy)]
struct ElemId {
    numid: u32,
    iface: u32,
    device: u32,
    subdevice: u32,
    name: [u8; 44],
    index: u32,
}

/// `snd_ctl_elem_list`
#[repr(C)]
struct ElemList {
    offset: u32,
    space: u32,
    used: u32,
    count: u32,
    ids: *mut ElemId,
    reserved: [u8; 50],
}

/// `snd_ctl_elem_info`
#[repr(C)]
struct ElemInfo {
    id: ElemId,
    kind: u32,
    access: u32,
    count: u32,
    owner: i32,
    /// min, max, step, of integers
    value: [libc::c_long; 16],
    reserved: [u8; 64],
}

/// `snd_ctl_elem_value`
#[repr(C)]
struct ElemValue {
    id: ElemId,
    indirect: u32,
    value: [libc::c_long; 128],
    reserved: [u8; 128],
}

const RATE: u32 = 48_000;

fn call<T>(file: &File, request: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: `T` is what the kernel reads and writes for this request; it has its size.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), request, std::ptr::from_mut(argument)) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Plays a sine: 16 bits, two channels.
fn tone(device: &str, hz: f64, seconds: u32) {
    let pcm = OpenOptions::new().write(true).open(device).unwrap();
    let mut params = HwParams {
        flags: 0,
        masks: [[u32::MAX; 8]; 8],
        intervals: [Interval {
            min: 0,
            max: u32::MAX,
            bits: 0,
        }; 21],
        rmask: u32::MAX,
        cmask: 0,
        info: u32::MAX,
        msbits: 0,
        rate_num: 0,
        rate_den: 0,
        fifo_size: 0,
        reserved: [0; 64],
    };
    let only = |bit: u32| [1 << bit, 0, 0, 0, 0, 0, 0, 0];
    params.masks[0] = only(3); // written, not mapped, channels in turn
    params.masks[1] = only(2); // S16_LE
    params.masks[2] = only(0); // the standard subformat
    let exactly = |value| Interval {
        min: value,
        max: value,
        bits: 4,
    };
    params.intervals[2] = exactly(2); // channels
    params.intervals[3] = exactly(RATE);
    // As much as there is: an emulated processor is late at times.
    params.intervals[9].min = RATE / 4; // frames of the buffer
    call(&pcm, HW_PARAMS, &mut params).unwrap();
    call(&pcm, PREPARE, &mut 0_u32).unwrap();
    let mut samples: Vec<i16> = (0..RATE * seconds)
        .flat_map(|i| {
            let phase = f64::from(i) * hz * std::f64::consts::TAU / f64::from(RATE);
            #[allow(clippy::cast_possible_truncation)] // at most 20,000
            let sample = (phase.sin() * 20_000.0) as i16;
            [sample, sample]
        })
        .collect();
    // Silence behind it, so that nothing is lost where the end is not waited for.
    samples.resize(samples.len() + 2 * RATE as usize, 0);
    let mut late = 0;
    for part in samples.chunks(2 * 4800) {
        let mut frames = Frames {
            result: 0,
            buffer: part.as_ptr(),
            frames: (part.len() / 2) as libc::c_ulong,
        };
        if let Err(e) = call(&pcm, WRITE_FRAMES, &mut frames) {
            assert_eq!(e.raw_os_error(), Some(libc::EPIPE), "{e}");
            late += 1;
            call(&pcm, PREPARE, &mut 0_u32).unwrap();
            call(&pcm, WRITE_FRAMES, &mut frames).unwrap();
        }
    }
    // QEMU's virtio-sound does not tell the end of the last buffer if it came late.
    let end = call(&pcm, DRAIN, &mut 0_u32);
    println!("played {seconds} s, late {late} times, {end:?}");
}

/// Turns up whatever plays: a driver begins with silence.
fn unmute(control: &str) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(control)
        .unwrap();
    let nobody = ElemId {
        numid: 0,
        iface: 0,
        device: 0,
        subdevice: 0,
        name: [0; 44],
        index: 0,
    };
    let mut ids = [nobody; 64];
    let mut list = ElemList {
        offset: 0,
        space: 64,
        used: 0,
        count: 0,
        ids: ids.as_mut_ptr(),
        reserved: [0; 50],
    };
    call(&file, ELEM_LIST, &mut list).unwrap();
    for id in &ids[..list.used as usize] {
        let mut info = ElemInfo {
            id: *id,
            kind: 0,
            access: 0,
            count: 0,
            owner: 0,
            value: [0; 16],
            reserved: [0; 64],
        };
        call(&file, ELEM_INFO, &mut info).unwrap();
        let name = String::from_utf8_lossy(&id.name).replace('\0', "");
        // Switches and volumes.
        let most = match info.kind {
            1 => 1,
            2 => info.value[1],
            _ => continue,
        };
        if !name.contains("Playback") {
            continue;
        }
        let mut value = ElemValue {
            id: *id,
            indirect: 0,
            value: [most; 128],
            reserved: [0; 128],
        };
        if call(&file, ELEM_WRITE, &mut value).is_ok() {
            println!("{name}: {most}");
        }
    }
}
