package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Kinds of trouble that an image can give. Typed errors below match them with
// errors.Is.
var (
	// ErrCorrupt: a record is impossible (out of range, overlapping, looping).
	ErrCorrupt = errors.New("image is corrupt")
	// ErrChecksum: a record's checksum does not fit its content.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrUnsupported: the image uses something that is not understood.
	ErrUnsupported = fmt.Errorf("not understood: %w", errors.ErrUnsupported)
)

// NewKind is an error that also matches others, an io/fs error or an errno, so
// that callers need not know the package it comes from.
func NewKind(msg string, matches ...error) error { return &kind{msg, matches} }

type kind struct {
	msg     string
	matches []error
}

func (k *kind) Error() string { return k.msg }

// Is reports whether target is one of the errors that the kind stands for.
func (k *kind) Is(target error) bool { return slices.Contains(k.matches, target) }

// CorruptError says which record is impossible and why. It matches
// ErrCorrupt. Zero Block and Inode mean that they are not known or do not
// apply.
type CorruptError struct {
	What   string // the record: "extent block", "directory entry"
	Block  BlockNum
	Inode  InodeNum
	Offset int    // byte offset inside the record's block, where it helps
	Detail string // what is wrong, with numbers
	Err    error  // the cause, if there is one below
}

func (e *CorruptError) Error() string {
	var b strings.Builder
	b.WriteString(e.What)
	b.WriteString(" is corrupt")
	where(&b, e.Inode, e.Block)
	if e.Offset != 0 {
		fmt.Fprintf(&b, ", offset %d", e.Offset)
	}
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Is reports whether target is ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// ChecksumError says which record fails its checksum. It matches ErrChecksum.
type ChecksumError struct {
	What     string
	Block    BlockNum
	Inode    InodeNum
	Stored   uint32
	Computed uint32
}

func (e *ChecksumError) Error() string {
	var b strings.Builder
	b.WriteString("checksum of ")
	b.WriteString(e.What)
	b.WriteString(" is wrong")
	where(&b, e.Inode, e.Block)
	fmt.Fprintf(&b, ": stored 0x%08x, computed 0x%08x", e.Stored, e.Computed)
	return b.String()
}

// Is reports whether target is ErrChecksum.
func (e *ChecksumError) Is(target error) bool { return target == ErrChecksum }

// FeatureError names features that are set but not understood. It matches
// ErrUnsupported and errors.ErrUnsupported.
type FeatureError struct {
	Set   string   // "incompat", "ro_compat", "journal incompat"
	Names []string // names, or FEATURE_I31-like numbers for unknown bits
}

func (e *FeatureError) Error() string {
	return fmt.Sprintf("unsupported %s features: %s", e.Set, strings.Join(e.Names, " "))
}

// Is reports whether target is ErrUnsupported.
func (e *FeatureError) Is(target error) bool {
	return target == ErrUnsupported || target == errors.ErrUnsupported
}

func where(b *strings.Builder, ino InodeNum, block BlockNum) {
	if ino != 0 {
		fmt.Fprintf(b, ", inode %d", ino)
	}
	if block != 0 {
		fmt.Fprintf(b, ", block %d", block)
	}
}
