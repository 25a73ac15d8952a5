package device

// Direct says what goes past the page cache of the host (O_DIRECT), where the
// system and the file system that the image is on allow it: Linux.
type Direct uint8

const (
	// DirectNever has everything go through the page cache.
	DirectNever Direct = iota
	// DirectStreams has large aligned reads of what is not in the page cache go
	// past it, from Linux 6.5 on. It is for who keeps what he has read himself:
	// else it would be in memory twice, and be copied twice.
	DirectStreams
	// DirectAlways has all reads and writes go past it that are aligned: places
	// and lengths to what the host demands, mostly 512 or 4096 bytes, and memory
	// as well.
	DirectAlways
)

// directMin is the size, in bytes, from which on DirectStreams goes past the page
// cache. Smaller reads gain by what the host reads ahead: a stream of 128 KiB
// pieces, which a FUSE mount has that may not raise the kernel's read-ahead, takes a
// fifth longer without.
const directMin = 256 << 10

// goDirect has d, if it is the image's file as the system has it, go past the page
// cache where o says so.
func (m *Image) goDirect(d Device, o *Options) {
	h, ok := d.(interface{ setDirect(*directFile) })
	if !ok || o.Direct == DirectNever {
		return
	}
	m.direct = openDirect(m.file, o.Direct, o.Write && o.Direct == DirectAlways)
	h.setDirect(m.direct)
}

func (h *hostFile) setDirect(d *directFile) { h.direct = d }
