package device

import (
	"errors"
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// unlinkOpen makes the file sparse. An open file keeps its name on Windows.
func unlinkOpen(f *os.File) {
	const fsctlSetSparse = 0x900c4
	var n uint32
	// Without it the zeros take space, and nothing else changes.
	_ = windows.DeviceIoControl(windows.Handle(f.Fd()), fsctlSetSparse, nil, 0, nil, 0, &n, nil)
}

// closeTemp closes and removes the file.
func closeTemp(f *os.File) error {
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// freeSpace is what the user may still write to the volume of dir.
func freeSpace(_ *os.File, dir string) (int64, bool) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, false
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return 0, false
	}
	return int64(min(free, math.MaxInt64)), true
}
