package device_test

import (
	"github.com/e4kit/e4kit/ext4fs/device"
	"github.com/e4kit/e4kit/testimages"
)

func init() {
	device.RequireTool, device.RequireRoot = testimages.RequireTool, testimages.RequireRoot
}
