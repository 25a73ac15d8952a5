package ext4fs

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/quota"
)

// fastCharge is what an owner has more after the fast commits than before.
type fastCharge struct{ bytes, inodes int64 }

// count adds what an inode takes, if it is in use, to what its owners are to be
// charged; with a sign of -1 it is taken off.
func (w *fastWriter) count(i *Inode, sign int64) error {
	f := w.f
	owners, charged := i.owners()
	if !charged || !f.super.Features.ROCompat.Has(disk.ROCompatQuota) {
		return nil
	}
	if used, err := f.live.alloc.InodeInUse(i.num); !used || err != nil {
		return err
	}
	inodes, err := i.chargedInodes()
	if errors.Is(err, ErrCorrupt) || errors.Is(err, ErrChecksum) {
		inodes, err = 1, nil // a check will count better
	}
	c := w.charges[owners]
	c.bytes += sign * int64(i.Sectors()) * 512
	c.inodes += sign * inodes
	w.charges[owners] = c
	return err
}

// chargeQuotas opens the quotas and brings them up to date. Before that nothing
// has been charged.
func (w *fastWriter) chargeQuotas() error {
	f := w.f
	if err := f.openQuotas(); err != nil || f.live.quota == nil {
		return err
	}
	for _, n := range w.order {
		if used, err := f.live.alloc.InodeInUse(n); err != nil {
			return err
		} else if !used {
			continue // its record may be anything
		}
		i, err := f.Inode(n)
		if err == nil {
			err = w.count(i, 1)
		}
		if err != nil {
			return err
		}
	}
	order := slices.SortedFunc(maps.Keys(w.charges), func(a, b quota.Owners) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Project, b.Project))
	})
	for _, o := range order {
		c := w.charges[o]
		err := w.handle(f.live.quota.insert, func(h *txn) error {
			return quotaError(f.live.quota.set.Charge(h, o, c.bytes, c.inodes, true))
		})
		if err != nil {
			return fmt.Errorf("quotas: %w", err)
		}
	}
	return nil
}
