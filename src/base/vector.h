/* Loops that the compiler makes vectors of, once for each of these instruction sets; which one runs
 * is decided when the library is loaded. Element-wise results are the same in all (no contraction
 * to fused multiply-add, see CMakeLists.txt). The function must not contain `omp parallel`: what
 * that outlines is compiled for the lowest set only. It must be static, and no other file may have
 * one of its name: clang exports the function that chooses, and not the function itself. */
#ifndef QF_BASE_VECTOR_H
#define QF_BASE_VECTOR_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) ||                         \
    __has_feature(thread_sanitizer)
#define QF_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QF_SANITIZED 1
#endif

/* Sanitizers instrument the functions that choose, which run before the sanitizers are ready. */
#if defined(__x86_64__) && defined(__linux__) && !defined(QF_SANITIZED)
#define QF_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define QF_CLONES
#endif

#endif
