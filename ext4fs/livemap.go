package ext4fs

import (
	"iter"
	"time"

	"github.com/e4kit/e4kit/ext4fs/disk"
	"github.com/e4kit/e4kit/ext4fs/extent"
)

func seconds(n uint16) time.Duration { return time.Duration(n) * time.Second }

// lockRead keeps others from changing what the inode holds: its data, names
// and attributes. In a file system open for reading nobody does.
func (i *Inode) lockRead() {
	if i.node != nil {
		i.mu.RLock()
	}
}

func (i *Inode) unlockRead() {
	if i.node != nil {
		i.mu.RUnlock()
	}
}

// changer returns the block map for changes. The caller holds i.mu to change,
// and mapMu likewise.
func (i *Inode) changer() (extent.Changer, error) {
	if i.blocks != nil {
		return i.blocks, nil
	}
	c, err := i.openMap()
	if err == nil {
		i.blocks = c
	}
	return c, err
}

// liveMap returns the map for reading.
func (i *Inode) liveMap() (extent.Map, error) {
	if !i.hasBlocks() {
		return extent.List(nil), nil
	}
	i.mapMu.Lock()
	defer i.mapMu.Unlock()
	if _, err := i.changer(); err != nil {
		return nil, err
	}
	return lockedMap{i}, nil
}

// lockedMap is the map of an inode that may be changed by others.
type lockedMap struct{ i *Inode }

// get returns the map, with mapMu held for reading.
func (m lockedMap) get() (extent.Map, error) {
	for {
		m.i.mapMu.RLock()
		if c := m.i.blocks; c != nil {
			return c, nil
		}
		m.i.mapMu.RUnlock()
		// The map was dropped: the content went into the inode, or left it.
		if !m.i.hasBlocks() {
			m.i.mapMu.RLock()
			return extent.List(nil), nil
		}
		if _, err := m.i.liveMap(); err != nil {
			return nil, err
		}
	}
}

// Find implements extent.Map.
func (m lockedMap) Find(l disk.LogicalNum) (extent.Extent, error) {
	c, err := m.get()
	if err != nil {
		return extent.Extent{}, err
	}
	defer m.i.mapMu.RUnlock()
	return c.Find(l)
}

// mapBatch is how many runs From takes out of the map at once.
const mapBatch = 256

// From implements extent.Map. The lock is not held while the consumer works.
func (m lockedMap) From(l disk.LogicalNum) iter.Seq2[extent.Extent, error] {
	return func(yield func(extent.Extent, error) bool) {
		var batch []extent.Extent
		for {
			var more bool
			var err error
			if batch, more, err = m.some(l, batch[:0]); err != nil {
				yield(extent.Extent{}, err)
				return
			}
			for _, e := range batch {
				if !yield(e, nil) {
					return
				}
			}
			if !more {
				return
			}
			end := batch[len(batch)-1].End()
			if end > uint64(disk.MaxLogical) {
				return
			}
			l = disk.LogicalNum(end)
		}
	}
}

func (m lockedMap) some(l disk.LogicalNum, batch []extent.Extent) (_ []extent.Extent, more bool, err error) {
	c, err := m.get()
	if err != nil {
		return nil, false, err
	}
	defer m.i.mapMu.RUnlock()
	for e, err := range c.From(l) {
		if err != nil {
			return nil, false, err
		}
		if batch = append(batch, e); len(batch) == mapBatch {
			return batch, true, nil
		}
	}
	return batch, false, nil
}

// Nodes implements extent.Map.
func (m lockedMap) Nodes() iter.Seq2[extent.Node, error] {
	return func(yield func(extent.Node, error) bool) {
		c, err := m.get()
		if err != nil {
			yield(extent.Node{}, err)
			return
		}
		var list []extent.Node
		for n, e := range c.Nodes() {
			if err = e; e != nil {
				break
			}
			list = append(list, n)
		}
		m.i.mapMu.RUnlock()
		for _, n := range list {
			if !yield(n, nil) {
				return
			}
		}
		if err != nil {
			yield(extent.Node{}, err)
		}
	}
}
