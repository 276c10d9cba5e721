"""What the CUDA sources of all kernels have in common; it includes no header.

Eight elements are read and written at a time, in loads and stores of sixteen bytes, and widened
to float in between. Branches without `__CUDA_ARCH__` are plain C++: with them the same source
runs on a processor.
"""

COMMON = r"""
typedef float Fp32;
struct Bf16 { unsigned short bits; };
struct Fp16 { unsigned short bits; };

struct Eight { float at[8]; };
template <class T> struct Packed { uint4 part[sizeof(T) / 2]; };

__device__ __forceinline__ unsigned bf16_bits(float wide)
{
    const unsigned bits = __float_as_uint(wide);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

__device__ __forceinline__ float from_fp16(unsigned short bits)
{
#ifdef __CUDA_ARCH__
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(bits));
    return wide;
#else
    _Float16 narrow;
    __builtin_memcpy(&narrow, &bits, 2);
    return (float)narrow;
#endif
}

__device__ __forceinline__ unsigned short fp16_bits(float wide)
{
    unsigned short bits;
#ifdef __CUDA_ARCH__
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(wide));
#else
    const _Float16 narrow = (_Float16)wide;
    __builtin_memcpy(&bits, &narrow, 2);
#endif
    return bits;
}

__device__ __forceinline__ unsigned two(Bf16, float low, float high)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
#else
    return bf16_bits(low) | bf16_bits(high) << 16;
#endif
}

__device__ __forceinline__ unsigned two(Fp16, float low, float high)
{
    return fp16_bits(low) | (unsigned)fp16_bits(high) << 16;
}

__device__ __forceinline__ float low_of(Bf16, unsigned both) { return __uint_as_float(both << 16); }
__device__ __forceinline__ float high_of(Bf16, unsigned both)
{
    return __uint_as_float(both & 0xffff0000u);
}
__device__ __forceinline__ float low_of(Fp16, unsigned both) { return from_fp16(both & 0xffffu); }
__device__ __forceinline__ float high_of(Fp16, unsigned both) { return from_fp16(both >> 16); }

template <class T> __device__ __forceinline__ Eight widened(const Packed<T>& packed)
{
    const uint4 part = packed.part[0];
    const unsigned word[4] = {part.x, part.y, part.z, part.w};
    Eight wide;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        wide.at[2 * i] = low_of(T(), word[i]);
        wide.at[2 * i + 1] = high_of(T(), word[i]);
    }
    return wide;
}

template <> __device__ __forceinline__ Eight widened(const Packed<Fp32>& packed)
{
    const uint4 a = packed.part[0], b = packed.part[1];
    const unsigned word[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
    Eight wide;
#pragma unroll
    for (int i = 0; i < 8; i++) wide.at[i] = __uint_as_float(word[i]);
    return wide;
}

template <class T> __device__ __forceinline__ Packed<T> narrowed(const Eight& wide)
{
    const float* v = wide.at;
    Packed<T> packed;
    packed.part[0].x = two(T(), v[0], v[1]);
    packed.part[0].y = two(T(), v[2], v[3]);
    packed.part[0].z = two(T(), v[4], v[5]);
    packed.part[0].w = two(T(), v[6], v[7]);
    return packed;
}

template <> __device__ __forceinline__ Packed<Fp32> narrowed(const Eight& wide)
{
    const float* v = wide.at;
    Packed<Fp32> packed;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        packed.part[i].x = __float_as_uint(v[4 * i]);
        packed.part[i].y = __float_as_uint(v[4 * i + 1]);
        packed.part[i].z = __float_as_uint(v[4 * i + 2]);
        packed.part[i].w = __float_as_uint(v[4 * i + 3]);
    }
    return packed;
}

// Tokens pass once, so they should not push out of the cache what all rows share.
template <class T> __device__ __forceinline__ Packed<T> read_once(const T* at)
{
    Packed<T> packed;
#pragma unroll
    for (int i = 0; i < (int)sizeof(T) / 2; i++)
        packed.part[i] = __ldcs(reinterpret_cast<const uint4*>(at) + i);
    return packed;
}

template <class T> __device__ __forceinline__ Eight read_often(const T* at)
{
    Packed<T> packed;
#pragma unroll
    for (int i = 0; i < (int)sizeof(T) / 2; i++)
        packed.part[i] = __ldg(reinterpret_cast<const uint4*>(at) + i);
    return widened(packed);
}

template <class T> __device__ __forceinline__ void write(T* at, const Packed<T>& packed)
{
#pragma unroll
    for (int i = 0; i < (int)sizeof(T) / 2; i++)
        __stwb(reinterpret_cast<uint4*>(at) + i, packed.part[i]);
}

// The sum over `lanes` neighbours in a warp, a power of two up to 32, for each of them.
__device__ __forceinline__ float sum_of_lanes(float value, int lanes)
{
#pragma unroll
    for (int step = 16; step > 0; step >>= 1)
        if (step < lanes) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}

// The sum over all threads of a block, for each of them; `partial` serves one sum of a block.
__device__ __forceinline__ float sum_of_block(float value, float* partial)
{
    value = sum_of_lanes(value, 32);
    if (THREADS == 32) return value;
    const int lane = threadIdx.x % 32;
    if (lane == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    return sum_of_lanes(lane < THREADS / 32 ? partial[lane] : 0.0f, 32);
}
"""
