//go:build tools

package build

import _ "github.com/hashicorp/consul"
