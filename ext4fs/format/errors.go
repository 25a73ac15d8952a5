package format

import (
	"fmt"
	"io/fs"
	"syscall"

	"github.com/e4kit/e4kit/ext4fs/disk"
)

// ErrOption: options contradict each other, are out of range or ask for what
// cannot be made. It matches fs.ErrInvalid and syscall.EINVAL.
var ErrOption = disk.NewKind("no file system can be made so", fs.ErrInvalid, syscall.EINVAL)

// OptionError says which option is wrong and why. It matches ErrOption.
type OptionError struct {
	Option string // "features", "block size", "-E stride"
	Value  string // as it was given; "" if there is none
	Reason string
}

func (e *OptionError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: %s", e.Option, e.Reason)
	}
	return fmt.Sprintf("%s %q: %s", e.Option, e.Value, e.Reason)
}

// Is reports whether target is ErrOption or what that matches.
func (e *OptionError) Is(target error) bool { return target == ErrOption || is(ErrOption, target) }

func is(kind, target error) bool {
	k, ok := kind.(interface{ Is(error) bool })
	return ok && k.Is(target)
}

// bad makes an OptionError. value may be nil.
func bad(option string, value any, format string, args ...any) error {
	e := &OptionError{Option: option, Reason: fmt.Sprintf(format, args...)}
	if value != nil {
		e.Value = fmt.Sprint(value)
	}
	return e
}
