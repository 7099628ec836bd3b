package outside

import _ "github.com/multilock/multilock-go/core/driver"
