// The part of ONNX Runtime's C++ interface that docs/use.md uses, over the binary interface of its library.
//
// ONNX Runtime's own headers come with its releases and not with its Python wheel, whose library this is for. The names
// and their meaning are those of the real header; the table of functions is append-only, so places in it never change.
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

extern "C" {
struct OrtApiBase {
  void* const* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};
const OrtApiBase* OrtGetApiBase();
}
enum OrtAllocatorType { OrtDeviceAllocator = 0, OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };

namespace Ort {
namespace table {
enum Place { ErrorMessage = 2, CreateEnv = 3, CreateSession = 7, RunSession = 9, CreateOptions = 10, SetThreads = 24,
             CreateTensor = 49, TensorData = 51, CreateCpuMemory = 69, ReleaseEnv = 92, ReleaseStatus = 93,
             ReleaseMemory = 94, ReleaseSession = 95, ReleaseValue = 96, ReleaseOptions = 100 };

template <typename Function> Function* at(Place place) {
  static void* const* api = OrtGetApiBase()->GetApi(1);
  return reinterpret_cast<Function*>(api[place]);
}

template <typename... Given> void call(Place place, Given... given) {
  if (void* status = at<void*(Given...)>(place)(given...)) {
    std::runtime_error error(at<const char*(const void*)>(ErrorMessage)(status));
    at<void(void*)>(ReleaseStatus)(status);
    throw error;
  }
}

template <Place release> struct Owned {
  void* held = nullptr;
  Owned() = default;
  Owned(Owned&& other) noexcept : held(std::exchange(other.held, nullptr)) {}
  Owned(const Owned&) = delete;
  ~Owned() { if (held) at<void(void*)>(release)(held); }
};
}  // namespace table

struct Env : table::Owned<table::ReleaseEnv> {
  Env() { table::call<int, const char*, void**>(table::CreateEnv, 2, "", &held); }
};

struct SessionOptions : table::Owned<table::ReleaseOptions> {
  SessionOptions() { table::call<void**>(table::CreateOptions, &held); }
  SessionOptions& SetIntraOpNumThreads(int count) {
    table::call<void*, int>(table::SetThreads, held, count);
    return *this;
  }
};

struct RunOptions {};

struct MemoryInfo : table::Owned<table::ReleaseMemory> {
  static MemoryInfo CreateCpu(OrtAllocatorType allocator, OrtMemType type) {
    MemoryInfo made;
    table::call<int, int, void**>(table::CreateCpuMemory, allocator, type, &made.held);
    return made;
  }
};

template <typename T> struct ElementType;
template <> struct ElementType<float> { static constexpr int value = 1; };
template <> struct ElementType<int64_t> { static constexpr int value = 7; };

struct Value : table::Owned<table::ReleaseValue> {
  template <typename T>
  static Value CreateTensor(const MemoryInfo& memory, T* data, size_t count, const int64_t* shape, size_t rank) {
    Value made;
    table::call<void*, void*, size_t, const int64_t*, size_t, int, void**>(
        table::CreateTensor, memory.held, data, count * sizeof(T), shape, rank, ElementType<T>::value, &made.held);
    return made;
  }
  template <typename T> const T* GetTensorData() const {
    void* data = nullptr;
    table::call<void*, void**>(table::TensorData, held, &data);
    return static_cast<const T*>(data);
  }
};

struct Session : table::Owned<table::ReleaseSession> {
  Session(const Env& env, const char* path, const SessionOptions& options) {
    table::call<void*, const char*, void*, void**>(table::CreateSession, env.held, path, options.held, &held);
  }
  std::vector<Value> Run(const RunOptions&, const char* const* names, const Value* values, size_t count,
                         const char* const* wanted, size_t outputs) {
    std::vector<void*> given, found(outputs, nullptr);
    for (size_t i = 0; i < count; ++i) given.push_back(values[i].held);
    table::call<void*, void*, const char* const*, void* const*, size_t, const char* const*, size_t, void**>(
        table::RunSession, held, nullptr, names, given.data(), count, wanted, outputs, found.data());
    std::vector<Value> made(outputs);
    for (size_t i = 0; i < outputs; ++i) made[i].held = found[i];
    return made;
  }
};
}  // namespace Ort
