package device

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// deviceSize is the size of a block device. Reading it moves the file's
// offset, which nothing here uses.
func deviceSize(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if st.Mode()&os.ModeCharDevice != 0 {
		return 0, errors.New("is a character device")
	}
	return f.Seek(0, io.SeekEnd)
}

// blockDevice is a block device that knows its logical sector size.
type blockDevice struct {
	hostFile
	sector int
}

func (b *blockDevice) sectorSize() int { return b.sector }

func newBlockDevice(f *os.File, size int64) Device {
	sector, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil {
		sector = 512
	}
	return &blockDevice{hostFile: hostFile{f: f, size: size}, sector: sector}
}
