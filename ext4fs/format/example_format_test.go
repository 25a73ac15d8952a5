package format_test

import (
	"context"
	"fmt"

	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/format"
)

func ExampleFormat() {
	o := format.Options{Label: "boot", Zeroed: true}
	if err := o.ParseFeatures("^has_journal,^resize_inode"); err != nil {
		fmt.Println(err)
		return
	}
	m := device.NewRAM(8 << 20)
	if err := format.Format(context.Background(), m, o); err != nil {
		fmt.Println(err)
		return
	}
	b := make([]byte, disk.SuperblockSize)
	if _, err := m.ReadAt(b, disk.SuperblockOffset); err != nil {
		fmt.Println(err)
		return
	}
	var sb disk.Superblock
	if err := sb.Decode(b); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(disk.CString(sb.VolumeName[:]), sb.BlocksCount, "blocks of", sb.BlockSize(), "bytes,", sb.InodesCount, "inodes")
	// Output: boot 8192 blocks of 1024 bytes, 2048 inodes
}
