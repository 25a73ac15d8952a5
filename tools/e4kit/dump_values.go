package main

import (
	"fmt"
	"io"
)

// backupGroup is a group with a backup of the superblock.
type backupGroup struct {
	Group uint32 `json:"group"`
}

// WriteText writes the number.
func (b *backupGroup) WriteText(w io.Writer) error {
	_, err := fmt.Fprintln(w, b.Group)
	return err
}
