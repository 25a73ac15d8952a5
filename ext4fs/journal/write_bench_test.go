package journal

import (
	"context"
	"testing"

	"github.com/e4kit/e4kit/ext4fs/cache"
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/ext4fs/disk"
)

// benchJournal is a journal of 32 MiB on a memory device of 4 KiB blocks.
func benchJournal(b *testing.B) *Journal {
	b.Helper()
	const blocks, logBlocks = 40000, 8192
	dev := device.NewRAM(int64(blocks+logBlocks) * 4096)
	sb := disk.JournalSuperblock{
		Type: disk.JournalSuperblockV2, BlockSize: 4096, MaxLen: logBlocks, First: 1, Sequence: 1, NrUsers: 1,
	}
	p := make([]byte, 4096)
	sb.Encode(p)
	if _, err := dev.WriteAt(p, blocks*4096); err != nil {
		b.Fatal(err)
	}
	log, err := NewInternalWriter(dev, 4096, []Run{{0, blocks, logBlocks}})
	if err != nil {
		b.Fatal(err)
	}
	j, err := Start(Config{
		Cache: cache.New(dev, 4096, blocks, cache.Options{}), Device: dev, Log: log, FSBlocks: blocks,
		Bits64: true, Checksum: ChecksumV3, Interval: -1,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.Close(context.Background()) })
	return j
}

func benchHandle(j *Journal, first disk.BlockNum, n int) (uint32, error) {
	h, err := j.Begin(context.Background(), n)
	if err != nil {
		return 0, err
	}
	for i := range n {
		if _, err := h.Write(first+disk.BlockNum(i)*5, testSealer{}); err != nil {
			return 0, err
		}
	}
	id := h.ID()
	return id, h.End()
}

// A handle over blocks that the transaction has already.
func BenchmarkHandle(b *testing.B) {
	j := benchJournal(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := benchHandle(j, 100, 5); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHandle_parallel(b *testing.B) {
	j := benchJournal(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := benchHandle(j, 100, 5); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// A handle that brings new blocks, with the commits and checkpoints of that.
func BenchmarkHandle_newBlocks(b *testing.B) {
	j := benchJournal(b)
	b.ReportAllocs()
	b.SetBytes(5 * 4096)
	bn := disk.BlockNum(0)
	for b.Loop() {
		if _, err := benchHandle(j, bn, 5); err != nil {
			b.Fatal(err)
		}
		bn = (bn + 25) % 39000
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(map[int]string{1: "1", 10: "10", 1000: "1000"}[n], func(b *testing.B) {
			j := benchJournal(b)
			b.ReportAllocs()
			b.SetBytes(int64(n) * 4096)
			for b.Loop() {
				id, err := benchHandle(j, 100, n)
				if err == nil {
					err = j.Commit(context.Background(), id)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
