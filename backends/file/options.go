package file

import (
	"net/url"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/multilock/multilock-go/core/driver"
)

// fromURL takes the directory: file:///var/lib/app/leaders, and on Windows
// file:///C:/app/leaders.
func (o *Options) fromURL(u *url.URL) error {
	path := u.Path
	if runtime.GOOS == "windows" && len(path) > 2 && path[2] == ':' {
		path = path[1:]
	}
	if u.Host != "" && u.Host != "localhost" || u.User != nil || u.Opaque != "" || strings.Trim(path, "/") == "" {
		return invalid("file URL", quote(u.String()), "must be file:///directory, with an absolute path")
	}
	o.Directory = filepath.FromSlash(path)
	return nil
}

// validate holds what the single options cannot say.
func (o Options) validate(bool) error {
	if strings.ContainsRune(o.Directory, 0) {
		return invalid("file.Options.Directory", quote(o.Directory), "must be a path without a zero byte")
	}
	return nil
}

// adjustInfo shows the absolute path, which is the same for all participants.
func adjustInfo(o Options, i *driver.Info) {
	if path, err := filepath.Abs(o.Directory); err == nil {
		i.Target = path
	}
}
