// Loads, stores and copies on memory that somebody else may write at the same time.
//
// Swift has no relaxed 64-bit load at an arbitrary address, no fence, no pause and no prefetch;
// each function here is one of those, inlines to one or a few instructions and has no logic.
// A value that was loaded here is a private copy: check the copy, use the copy, never load again.
#ifndef WIREVALE_SHM_H
#define WIREVALE_SHM_H

#include <stddef.h>
#include <stdint.h>

// swift_attr: the Swift compiler cannot see into a C function, so without the promise it refuses to
// call one from a function marked @_noLocks.
#define NM_INLINE static inline __attribute__((always_inline, swift_attr("@_noLocks")))

NM_INLINE uint8_t nm_load8(const void *p) { return __atomic_load_n((const uint8_t *)p, __ATOMIC_RELAXED); }
NM_INLINE uint16_t nm_load16(const void *p) { return __atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED); }
NM_INLINE uint32_t nm_load32(const void *p) { return __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED); }
NM_INLINE uint64_t nm_load64(const void *p) { return __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED); }
NM_INLINE uint16_t nm_load16_acquire(const void *p) { return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE); }
NM_INLINE uint32_t nm_load32_acquire(const void *p) { return __atomic_load_n((const uint32_t *)p, __ATOMIC_ACQUIRE); }
NM_INLINE uint64_t nm_load64_acquire(const void *p) { return __atomic_load_n((const uint64_t *)p, __ATOMIC_ACQUIRE); }

NM_INLINE void nm_store8(void *p, uint8_t v) { __atomic_store_n((uint8_t *)p, v, __ATOMIC_RELAXED); }
NM_INLINE void nm_store16(void *p, uint16_t v) { __atomic_store_n((uint16_t *)p, v, __ATOMIC_RELAXED); }
NM_INLINE void nm_store32(void *p, uint32_t v) { __atomic_store_n((uint32_t *)p, v, __ATOMIC_RELAXED); }
NM_INLINE void nm_store64(void *p, uint64_t v) { __atomic_store_n((uint64_t *)p, v, __ATOMIC_RELAXED); }
NM_INLINE void nm_store8_release(void *p, uint8_t v) { __atomic_store_n((uint8_t *)p, v, __ATOMIC_RELEASE); }
NM_INLINE void nm_store16_release(void *p, uint16_t v) { __atomic_store_n((uint16_t *)p, v, __ATOMIC_RELEASE); }
NM_INLINE void nm_store32_release(void *p, uint32_t v) { __atomic_store_n((uint32_t *)p, v, __ATOMIC_RELEASE); }
NM_INLINE void nm_store64_release(void *p, uint64_t v) { __atomic_store_n((uint64_t *)p, v, __ATOMIC_RELEASE); }

// Adds to a counter that has one writer at a time and any number of readers: no bus lock needed.
NM_INLINE void nm_count(uint64_t *p, uint64_t n) {
    __atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

// Sets bits in a bitmap that its owner reads and clears at the same time.
NM_INLINE void nm_or8(void *p, uint8_t bits) { __atomic_fetch_or((uint8_t *)p, bits, __ATOMIC_RELEASE); }

// Adds to a counter that several threads may write.
NM_INLINE void nm_count_shared(uint64_t *p, uint64_t n) { __atomic_fetch_add(p, n, __ATOMIC_RELAXED); }

// The full barrier between "I published" and "does the other side sleep?" (both sides need it).
NM_INLINE void nm_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

NM_INLINE void nm_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

NM_INLINE void nm_prefetch(const void *p) { __builtin_prefetch(p, 0, 3); }
// Asks for the line with the right to write it. The compiler would emit a plain prefetch: the baseline
// of x86-64 lacks the instruction, but every processor since 2005 has it or takes it as a no-op.
NM_INLINE void nm_prefetch_write(const void *p) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
    __builtin_prefetch(p, 1, 3);
#endif
}

// A lock that only the engine's own workers ever hold, for the length of one batch.
NM_INLINE int nm_try_lock(uint32_t *lock) { return __atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) == 0; }
NM_INLINE void nm_unlock(uint32_t *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }


// Puts `value` where `expected` was; says whether it was there. For locks that die with their holders.
NM_INLINE int nm_replace32(void *p, uint32_t expected, uint32_t value) {
    return __atomic_compare_exchange_n((uint32_t *)p, &expected, value, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

typedef long long nm_vector __attribute__((vector_size(16), aligned(1), may_alias));

// Copies exactly `n` bytes, never one more: what lies behind a frame belongs to somebody's guest.
// Small frames, the ones whose cost is felt, take overlapping 16-byte moves instead of a call.
NM_INLINE void nm_copy(void *to, const void *from, size_t n) {
    char *d = (char *)to;
    const char *s = (const char *)from;
    if (__builtin_expect(n - 32 <= 32, 1)) {
        nm_vector a = *(const nm_vector *)s, b = *(const nm_vector *)(s + 16);
        nm_vector c = *(const nm_vector *)(s + n - 32), e = *(const nm_vector *)(s + n - 16);
        *(nm_vector *)d = a;
        *(nm_vector *)(d + 16) = b;
        *(nm_vector *)(d + n - 32) = c;
        *(nm_vector *)(d + n - 16) = e;
    } else {
        __builtin_memmove(d, s, n); // two ports may share a region
    }
}

#endif
