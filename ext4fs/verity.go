package ext4fs

import (
	"context"
	"fmt"
	"io"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/verity"
)

// VerityReport says what checking a verity file found.
type VerityReport struct {
	*verity.Report
	Descriptor *disk.VerityDescriptor
	// Digest is the file's digest as fsverity measures it: "sha256:…".
	Digest string
}

// ErrNoVerity: the file has no Merkle tree.
var ErrNoVerity = disk.NewKind("not a verity file")

// Verity checks the content of a verity file against its Merkle tree, and the
// tree against the root hash in its descriptor. A mismatch is told in the
// report and is no error. An inode without verity gives ErrNoVerity.
func (i *Inode) Verity(ctx context.Context, o verity.Options) (*VerityReport, error) {
	if !i.Flags().Has(disk.FlagVerity) || !i.IsRegular() {
		return nil, fmt.Errorf("inode %d: %w", i.num, ErrNoVerity)
	}
	if err := i.readable(); err != nil {
		return nil, err
	}
	m, err := i.Map()
	if err != nil {
		return nil, err
	}
	var end int64
	for e, err := range m.From(0) {
		if err != nil {
			return nil, err
		}
		end = int64(e.End()) << i.fs.blockShift()
	}
	whole := io.NewSectionReader(beyondEnd{i}, 0, end)
	layout, err := verity.Locate(whole, i.Size(), end, i.fs.BlockSize())
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", i.num, err)
	}
	d, err := verity.ReadDescriptor(whole, i.Size(), layout)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", i.num, err)
	}
	r, err := verity.Verify(ctx, whole, layout, d, o)
	if err != nil {
		return nil, fmt.Errorf("inode %d: %w", i.num, err)
	}
	return &VerityReport{Report: r, Descriptor: d, Digest: verity.Digest(d)}, nil
}

// beyondEnd reads an inode's blocks whatever its size says.
type beyondEnd struct{ i *Inode }

func (b beyondEnd) ReadAt(p []byte, off int64) (int, error) { return b.i.readBlocks(p, off) }
