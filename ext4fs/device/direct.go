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

// goDirect makes the file's own reads, and writes, direct ones where o says so.
func (h *hostFile) goDirect(o Direct, write bool) {
	if o != DirectNever {
		h.direct = openDirect(h.f, o, write && o == DirectAlways)
	}
}

func (h *hostFile) closeDirect() error {
	if h.direct == nil {
		return nil
	}
	return h.direct.close()
}

// hostFiler is a device that is a file of the host.
type hostFiler interface{ host() *hostFile }

func (h *hostFile) host() *hostFile { return h }

// direct has the image's file go past the page cache as o asks.
func (m *Image) direct(d Device, o *Options) {
	if h, ok := d.(hostFiler); ok {
		h.host().goDirect(o.Direct, o.Write)
		m.raw = h.host()
	}
}
