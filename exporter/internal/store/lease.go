package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
)

// A lease lasts 15 to 60 s (https://learn.microsoft.com/rest/api/storageservices/lease-blob): as long as can be, so that
// a store that is away for a while does not cost it, and renewed three times in that time.
const (
	leaseDuration = 60 * time.Second
	leaseRenewal  = 20 * time.Second
)

// ErrLeaseLost: somebody else has, or may have, taken the lease.
var ErrLeaseLost = errors.New("the lease on this tag was lost to another build")

// Lease keeps two builds of one tag apart.
type Lease struct {
	container *Container
	name      string
	client    *lease.BlobClient

	mutex sync.Mutex
	// renewed is when the last request was sent that gave or renewed the lease.
	renewed time.Time
	lost    bool
}

// NewLease names the blob that carries the lease. No request yet.
func (c *Container) NewLease(name string) (*Lease, error) {
	client, err := lease.NewBlobClient(c.client.NewBlobClient(name), nil)
	if err != nil {
		return nil, err
	}
	return &Lease{container: c, name: name, client: client}, nil
}

// Prepare makes the blob, if it is not there.
func (l *Lease) Prepare(ctx context.Context) error {
	if err := l.container.createAppendBlob(ctx, l.name, "application/octet-stream"); !errors.Is(err, ErrExists) {
		return err
	}
	return nil
}

// Acquire reports whether the lease is ours now; somebody else having it is no error.
func (l *Lease) Acquire(ctx context.Context) (bool, error) {
	sent := time.Now()
	_, err := l.client.AcquireLease(ctx, int32(leaseDuration/time.Second), nil)
	err = explain("lease", l.name, err)
	var refusal *ResponseError
	if errors.As(err, &refusal) && (refusal.Status == 409 || refusal.Status == 412) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.renewed = sent
	return true, nil
}

// Keep renews the lease until ctx ends. A store that is away is no reason to stop: Check decides.
func (l *Lease) Keep(ctx context.Context) {
	ticker := time.NewTicker(leaseRenewal)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := l.renew(ctx); errors.Is(err, ErrLeaseLost) {
				return
			}
		}
	}
}

// Check returns nil if the lease is ours, and asks the store when it has not been renewed in time. To be called before
// anything is written that another build of this tag could write too.
func (l *Lease) Check(ctx context.Context) error {
	l.mutex.Lock()
	lost, age := l.lost, time.Since(l.renewed)
	l.mutex.Unlock()
	if lost {
		return ErrLeaseLost
	}
	if age < leaseDuration-5*time.Second {
		return nil
	}
	return l.renew(ctx)
}

// renew also revives a lease that has expired, as long as nobody else took it in between.
func (l *Lease) renew(ctx context.Context) error {
	sent := time.Now()
	ctx = policy.WithRetryOptions(ctx, policy.RetryOptions{
		MaxRetries: 30, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 5 * time.Second, TryTimeout: 10 * time.Second,
	})
	_, err := l.client.RenewLease(ctx, nil)
	err = explain("renew the lease on", l.name, err)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var refusal *ResponseError
	switch {
	case err == nil:
		l.renewed = sent
	case errors.As(err, &refusal) && (refusal.Status == 409 || refusal.Status == 412):
		l.lost = true
		err = ErrLeaseLost
	}
	return err
}

// Release lets the next build of this tag go on at once; without it, it would wait for the lease to expire.
func (l *Lease) Release(ctx context.Context) error {
	_, err := l.client.ReleaseLease(ctx, nil)
	return explain("release", l.name, err)
}
