package device

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// deviceSize is the size of a disk or volume (\\.\PhysicalDrive0, \\.\D:).
func deviceSize(f *os.File) (int64, error) {
	const ioctlDiskGetLengthInfo = 0x7405c
	var size int64
	var n uint32
	err := windows.DeviceIoControl(windows.Handle(f.Fd()), ioctlDiskGetLengthInfo,
		nil, 0, (*byte)(unsafe.Pointer(&size)), uint32(unsafe.Sizeof(size)), &n, nil)
	if err != nil {
		return searchSize(f)
	}
	return size, nil
}

// newBlockDevice reads a disk in whole sectors, as the system demands.
func newBlockDevice(f *os.File, size int64) Device { return newAligned(f, size) }
