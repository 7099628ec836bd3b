package azblob

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/multilock/multilock-go/core/driver"
)

// suffix ends the blob of every group: names that Azure treats in its own way
// (they end in a dot, or are one) cannot come up, and different groups stay
// different, because blob names are case-sensitive and nothing else is changed.
const suffix = ".leader"

// groupBlob is the blob of one group. Each method is one request, but for create.
type groupBlob struct {
	container *container.Client
	blob      *blockblob.Client
}

func (d *azblobDriver) group(name string) groupBlob {
	return groupBlob{d.container, d.container.NewBlockBlobClient(name + suffix)}
}

func (g groupBlob) lease(n driver.Nonce) (*lease.BlobClient, error) {
	return lease.NewBlobClient(g.blob, &lease.BlobClientOptions{LeaseID: to.Ptr(n.String())})
}

// underLease makes a request succeed only while the lease of n is live (if n is
// not zero), and on the blob as it was read (if etag is not empty).
func underLease(n driver.Nonce, etag azcore.ETag) *blob.AccessConditions {
	c := &blob.AccessConditions{}
	if !n.IsZero() {
		c.LeaseAccessConditions = &blob.LeaseAccessConditions{LeaseID: to.Ptr(n.String())}
	}
	if etag != "" {
		c.ModifiedAccessConditions = &blob.ModifiedAccessConditions{IfMatch: &etag}
	}
	return c
}

func (g groupBlob) acquire(ctx context.Context, n driver.Nonce, seconds int32) error {
	l, err := g.lease(n)
	if err != nil {
		return err
	}
	_, err = l.AcquireLease(ctx, seconds, nil)
	return err
}

// renew extends the lease of n, if the blob is still the one with etag: a lease
// alone does not tell that the record under it was replaced.
func (g groupBlob) renew(ctx context.Context, n driver.Nonce, etag azcore.ETag) error {
	l, err := g.lease(n)
	if err != nil {
		return err
	}
	p, err := l.RenewLease(ctx, &lease.BlobRenewOptions{ModifiedAccessConditions: &lease.ModifiedAccessConditions{IfMatch: &etag}})
	if err == nil && p.LeaseID != nil && !strings.EqualFold(*p.LeaseID, n.String()) {
		return driver.ErrLost // Azurite renews an expired lease for anybody, under the id it had
	}
	return err
}

func (g groupBlob) release(ctx context.Context, n driver.Nonce) error {
	l, err := g.lease(n)
	if err != nil {
		return err
	}
	_, err = l.ReleaseLease(ctx, nil)
	return err
}

// state is what a read found.
type state struct {
	rec    record
	etag   azcore.ETag
	date   time.Time // the store's, in whole seconds
	leased bool      // by anybody
}

var errIncomplete = errors.New("azblob: the answer lacks its ETag or Date")

// read reads the record. With a nonce it is refused (isLost) unless that lease is
// live at this moment.
func (g groupBlob) read(ctx context.Context, n driver.Nonce) (state, error) {
	p, err := g.blob.GetProperties(ctx, &blob.GetPropertiesOptions{AccessConditions: underLease(n, "")})
	if err != nil {
		return state{}, err
	}
	if p.ETag == nil || p.Date == nil {
		return state{}, errIncomplete
	}
	s := state{etag: *p.ETag, date: *p.Date, leased: p.LeaseStatus != nil && *p.LeaseStatus == lease.StatusTypeLocked}
	s.rec, err = decode(p.Metadata)
	return s, err
}

// maxContent bounds the metadata of a term: its limits, and escapes.
const maxContent = 8 << 20

// readAll is read together with the content, from one moment.
func (g groupBlob) readAll(ctx context.Context, n driver.Nonce) (record, error) {
	p, err := g.blob.DownloadStream(ctx, &blob.DownloadStreamOptions{AccessConditions: underLease(n, "")})
	if err != nil {
		return record{}, err
	}
	defer p.Body.Close()
	rec, err := decode(p.Metadata)
	if err != nil || !rec.Content {
		return rec, err
	}
	text, err := io.ReadAll(io.LimitReader(p.Body, maxContent))
	if err != nil {
		return record{}, err
	}
	if err := json.Unmarshal(text, &rec.Metadata); err != nil {
		return record{}, fmt.Errorf("azblob: the content of the group's blob is not its metadata: %w", err)
	}
	return rec, nil
}

// write replaces the record, under the lease of n and only if the blob is still
// the one with etag. had says that the old record has its metadata in the
// content.
func (g groupBlob) write(ctx context.Context, n driver.Nonce, etag azcore.ETag, had bool, r record) (azcore.ETag, error) {
	header, content, err := r.encode()
	if err != nil {
		return "", err
	}
	metadata := map[string]*string{recordKey: &header}
	var written *azcore.ETag
	if content == nil && !had {
		p, err := g.blob.SetMetadata(ctx, metadata, &blob.SetMetadataOptions{AccessConditions: underLease(n, etag)})
		if err != nil {
			return "", err
		}
		written = p.ETag
	} else {
		p, err := g.blob.Upload(ctx, streaming.NopCloser(bytes.NewReader(content)), &blockblob.UploadOptions{
			Metadata:         metadata,
			HTTPHeaders:      &blob.HTTPHeaders{BlobContentType: to.Ptr("application/json")},
			AccessConditions: underLease(n, etag),
		})
		if err != nil {
			return "", err
		}
		written = p.ETag
	}
	if written == nil {
		return "", errIncomplete
	}
	return *written, nil
}

// create makes the blob, and the container if that is missing and wanted. That
// somebody else has made them meanwhile is no error.
func (g groupBlob) create(ctx context.Context, createContainer bool) error {
	for {
		_, err := g.blob.Upload(ctx, streaming.NopCloser(strings.NewReader("")), &blockblob.UploadOptions{
			AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}},
		})
		switch {
		case err == nil,
			bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, bloberror.LeaseIDMissing):
			return nil
		case createContainer && bloberror.HasCode(err, bloberror.ContainerNotFound):
			createContainer = false // once
			if _, err := g.container.Create(ctx, nil); err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
				return err
			}
		default:
			return err
		}
	}
}
