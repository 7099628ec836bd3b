package azblob

import (
	"encoding/base64"
	"errors"
	"net/netip"
	"net/url"
	"os"
	"strings"

	azblobsdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// fromURL takes account and container: azblob://account.blob.core.windows.net/container.
// A URL holds no secret, so the key or signature comes from the environment
// (MULTILOCK_AZBLOB_ACCOUNT_KEY, MULTILOCK_AZBLOB_SAS_TOKEN). Without a host,
// azblob:///container, so does the whole connection string
// (MULTILOCK_AZBLOB_CONNECTION_STRING).
func (o *Options) fromURL(u *url.URL) error {
	name := strings.Trim(u.Path, "/")
	if u.User != nil || u.Opaque != "" || strings.Contains(name, "/") {
		return invalid("azblob URL", "", "must be azblob://account.blob.core.windows.net/container without a password, which belongs in MULTILOCK_AZBLOB_ACCOUNT_KEY or MULTILOCK_AZBLOB_SAS_TOKEN")
	}
	o.Container = name
	if u.Host == "" {
		o.ConnectionString = os.Getenv("MULTILOCK_AZBLOB_CONNECTION_STRING")
		return nil
	}
	o.AccountURL = "https://" + u.Host
	o.AccountKey = os.Getenv("MULTILOCK_AZBLOB_ACCOUNT_KEY")
	o.SASToken = os.Getenv("MULTILOCK_AZBLOB_SAS_TOKEN")
	return nil
}

// validate holds the rules between options.
func (o Options) validate(client bool) error {
	var faults []error
	fault := func(field, allowed string) { faults = append(faults, invalid("azblob.Options."+field, "", allowed)) }
	if strings.Contains(o.Container, "--") {
		fault("Container", "must not have two hyphens in a row")
	}
	if client {
		return errors.Join(faults...)
	}
	credentials := 0
	for _, given := range []bool{o.AccountKey != "", o.SASToken != "", o.Credential != nil} {
		if given {
			credentials++
		}
	}
	switch {
	case o.ConnectionString == "" && o.AccountURL == "":
		fault("AccountURL", "must be given, or ConnectionString")
	case o.ConnectionString != "" && (o.AccountURL != "" || o.AccountName != "" || credentials > 0):
		fault("ConnectionString", "must be given alone, since it names the account and its key")
	case o.ConnectionString != "":
		if _, err := azblobsdk.NewClientFromConnectionString(o.ConnectionString, nil); err != nil {
			// The SDK's error may quote it.
			fault("ConnectionString", "must be that of a storage account, such as DefaultEndpointsProtocol=https;AccountName=account;AccountKey=key;EndpointSuffix=core.windows.net")
		}
	case credentials > 1: // newDriver refuses none; a program may add Credential to what a URL gave
		fault("AccountURL", "needs only one of AccountKey, SASToken and Credential")
	}
	if o.AccountURL != "" {
		u, err := url.Parse(o.AccountURL)
		switch {
		case err != nil: // told already
		case u.RawQuery != "" || u.User != nil || u.Fragment != "":
			fault("AccountURL", "must have neither user nor parameters; a shared access signature belongs in SASToken")
		case o.Credential != nil && u.Scheme != "https":
			fault("AccountURL", "must start with https:// with a Credential, whose tokens must not be sent in the clear")
		case o.AccountKey != "" && !patternAccountName.MatchString(o.accountName()):
			fault("AccountName", "must be given, since the host of AccountURL does not begin with it")
		}
	}
	if o.AccountKey != "" {
		if _, err := base64.StdEncoding.DecodeString(o.AccountKey); err != nil {
			fault("AccountKey", "must be base64")
		}
	}
	if strings.HasPrefix(o.SASToken, "?") || o.SASToken != "" && !strings.Contains(o.SASToken, "sig=") {
		fault("SASToken", "must be the parameters of a signed URL, without the question mark")
	}
	return errors.Join(faults...)
}

// accountName is the given one, or the first label of the host. Emulators with a
// bare address have the name in the path.
func (o Options) accountName() string {
	if o.AccountName != "" {
		return o.AccountName
	}
	u, err := url.Parse(o.AccountURL)
	if err != nil {
		return ""
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil || u.Hostname() == "localhost" {
		return strings.Trim(u.Path, "/")
	}
	name, _, _ := strings.Cut(u.Hostname(), ".")
	return name
}

// adjustInfo shows the container's URL, whichever option it comes from.
func adjustInfo(o Options, i *driver.Info) {
	target := o.AccountURL
	if o.ConnectionString != "" {
		if c, err := azblobsdk.NewClientFromConnectionString(o.ConnectionString, nil); err == nil {
			target = c.URL()
		}
	}
	if target != "" {
		i.Target = strings.TrimSuffix(withoutCredentials(target), "/") + "/" + o.Container
	}
}

// FromClient returns a backend over a client of your own, where azblobsdk is
// github.com/Azure/azure-sdk-for-go/sdk/storage/azblob. The client stays yours:
// stop the electors and close the backend before you give it up. Its retries are
// not used, since MultiLock has its own. The options that say how to connect must
// be left empty.
func FromClient(c *azblobsdk.Client, o Options) (*multilock.Backend, error) {
	o, err := o.forClient()
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, invalid("client", "", "must not be nil")
	}
	return fromContainer(c.ServiceClient().NewContainerClient(o.Container), o)
}

// FromContainer is [FromClient] with the client of a container, for instance one
// made with a shared access signature for that container only. Container must be
// left empty too.
func FromContainer(c *container.Client, o Options) (*multilock.Backend, error) {
	if o.Container != "" {
		return nil, invalid("azblob.Options.Container", quote(o.Container), "must be left empty beside a client of your own for a container")
	}
	o, err := o.forClient()
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, invalid("client", "", "must not be nil")
	}
	return fromContainer(c, o)
}

func fromContainer(c *container.Client, o Options) (*multilock.Backend, error) {
	i := info(o)
	i.Target = withoutCredentials(c.URL())
	return multilock.NewBackend(newContainerDriver(c, o), i)
}
