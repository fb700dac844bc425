// A simulated SDAA card: PyTorch's spare device key (PrivateUse1) on memory of the CPU.
//
// Every operator runs as the CPU's kernel on the same memory, without copies, so the numbers are the CPU's. Mistakes that
// would fail on a card fail here: new memory is full of NaN, tensors of two devices cannot be mixed, and results reach
// Python only through a copy from the device. Those copies are counted.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include <atomic>
#include <cstring>
#include <unordered_map>
#include <vector>

namespace {

constexpr auto kCard = c10::DeviceType::PrivateUse1;
constexpr auto kCardKey = c10::DispatchKey::PrivateUse1;
constexpr c10::DeviceIndex kDevices = 4; // one card: four core groups
constexpr int kPoison = 0xFF; // every float type reads it as NaN, integers as -1

std::atomic<int64_t> copies_to_host{0}, copies_to_device{0}, operators_run{0};
thread_local c10::DeviceIndex current_device = 0;

// ---- Devices: which one is current. Streams and events do nothing, because every operator runs at once ----

struct CardGuard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kCard; }
  c10::Device getDevice() const override { return {kCard, current_device}; }
  void setDevice(c10::Device device) const override {
    TORCH_CHECK(device.index() < kDevices, "sdaa: invalid device ordinal ", int(device.index()));
    uncheckedSetDevice(device);
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.has_index()) current_device = device.index();
  }
  c10::Device exchangeDevice(c10::Device device) const override {
    const auto before = getDevice();
    setDevice(device);
    return before;
  }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }
  c10::Stream getStream(c10::Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return getStream(stream.device()); }
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, CardGuard)

// Random numbers come from the CPU's generator, so that dropout is the same as on the CPU
struct CardHooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kDevices; }
  c10::DeviceIndex getCurrentDevice() const override { return current_device; }
  void setCurrentDevice(c10::DeviceIndex index) const override { CardGuard().setDevice({kCard, index}); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override {
    return CardGuard().exchangeDevice({kCard, index}).index();
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override {
    return index < 0 ? current_device : exchangeDevice(index);
  }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return at::detail::createCPUGenerator(); }
};
CardHooks hooks;
const bool hooked = (at::RegisterPrivateUse1HooksInterface(&hooks), true);

// ---- Memory ----

struct PoisonedAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes ? c10::alloc_cpu(bytes) : nullptr;
    if (data) std::memset(data, kPoison, bytes);
    return {data, data, &c10::free_cpu, c10::Device(kCard, current_device)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }
  void copy_data(void* to, const void* from, size_t bytes) const override { std::memcpy(to, from, bytes); }
};
PoisonedAllocator memory;
REGISTER_ALLOCATOR(kCard, &memory)

at::Tensor empty(
    at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<at::Device> device, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_generic(
      size, &memory, c10::DispatchKeySet(kCardKey), c10::dtype_or_default(dtype), format);
}

at::Tensor empty_strided(
    at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<at::Device> device, std::optional<bool>) {
  const c10::OptionalDeviceGuard guard(device);
  return at::detail::empty_strided_generic(
      size, stride, &memory, c10::DispatchKeySet(kCardKey), c10::dtype_or_default(dtype));
}

c10::DataPtr kept_alive(const c10::Storage& storage, c10::Device device) {
  auto release = [](void* context) { delete static_cast<c10::Storage*>(context); };
  auto* keeper = new c10::Storage(storage);
  return {keeper->mutable_data(), keeper, release, device};
}

at::Tensor shaped(at::Tensor tensor, const at::Tensor& like) {
  auto* impl = tensor.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  if (like.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  return tensor;
}

at::Tensor tensor_on(c10::Storage storage, c10::DispatchKey key, const at::Tensor& like) {
  return shaped(
      at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), like.dtype()), like);
}

// As torch makes views: in inference mode, one of a tensor that was made outside of it is like that tensor
at::Tensor view_of(const at::Tensor& base, const at::Tensor& like) {
  return shaped(
      at::detail::make_tensor<c10::TensorImpl>(
          c10::TensorImpl::VIEW, c10::Storage(base.storage()), base.key_set(), like.dtype()),
      like);
}

// ---- One operator on the host: device tensors go in as host tensors on the same memory, and results come back ----

class HostCall {
 public:
  explicit HostCall(c10::Device device) : device_(device) {}

  at::Tensor in(const at::Tensor& tensor) {
    if (!tensor.defined() || tensor.device().type() != kCard) return tensor;
    TORCH_CHECK(
        tensor.device() == device_, "Expected all tensors to be on the same device, but found at least two devices, ",
        device_, " and ", tensor.device());
    auto* key = tensor.storage().unsafeGetStorageImpl();
    auto found = host_of_.find(key);
    if (found == host_of_.end()) {
      c10::Storage host(
          c10::Storage::use_byte_size_t(), tensor.storage().nbytes(), kept_alive(tensor.storage(), at::kCPU),
          c10::GetAllocator(at::kCPU), /*resizable=*/true);
      card_of_.emplace(host.unsafeGetStorageImpl(), tensor);
      found = host_of_.emplace(key, host).first;
    }
    auto host = tensor_on(found->second, c10::DispatchKey::CPU, tensor);
    arguments_.emplace_back(tensor, host);
    return host;
  }

  // An argument that the operator wrote to is itself again; a view shares its memory; else a new tensor of the device
  at::Tensor out(const at::Tensor& host) const {
    if (!host.defined() || host.device().type() != at::kCPU) return host;
    for (const auto& [card, argument] : arguments_)
      if (argument.is_same(host)) return card;
    const auto found = card_of_.find(host.storage().unsafeGetStorageImpl());
    if (found != card_of_.end()) return view_of(found->second, host);
    c10::Storage storage(
        c10::Storage::use_byte_size_t(), host.storage().nbytes(), kept_alive(host.storage(), device_), &memory, true);
    return tensor_on(storage, kCardKey, host);
  }

  // What the operator resized
  void settle() const {
    for (const auto& [card, host] : arguments_) {
      if (host.storage().data() != card.storage().data()) {
        auto* storage = card.storage().unsafeGetStorageImpl();
        storage->set_nbytes(host.storage().nbytes());
        storage->set_data_ptr(kept_alive(host.storage(), device_));
      }
      if (host.sizes() != card.sizes() || host.strides() != card.strides())
        card.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides(), host.storage_offset());
    }
  }

 private:
  c10::Device device_;
  std::unordered_map<c10::StorageImpl*, c10::Storage> host_of_;
  std::unordered_map<c10::StorageImpl*, at::Tensor> card_of_;
  std::vector<std::pair<at::Tensor, at::Tensor>> arguments_; // on the device, on the host
};

template <typename Visit>
void each_tensor(const c10::IValue& value, Visit visit) {
  if (value.isTensor()) visit(value.toTensor());
  else if (value.isTensorList())
    for (const at::Tensor& tensor : value.toTensorVector()) visit(tensor);
  else if (value.isOptionalTensorList())
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector())
      if (tensor) visit(*tensor);
}

template <typename Change>
c10::IValue with_tensors(const c10::IValue& value, Change change) {
  if (value.isTensor()) return change(value.toTensor());
  if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(change(tensor));
    return list;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector())
      list.push_back(tensor ? std::optional<at::Tensor>(change(*tensor)) : tensor);
    return list;
  }
  return value.isDevice() ? c10::IValue(c10::Device(at::kCPU)) : value;
}

// The device of an operator's tensors; host tensors beside them are a mistake, but for single numbers and indices
c10::Device device_of(const c10::OperatorHandle& op, at::ArrayRef<c10::IValue> arguments) {
  c10::Device device(kCard, current_device);
  bool found = false, host = false;
  for (const auto& argument : arguments) {
    if (argument.isDevice() && argument.toDevice().has_index()) device = argument.toDevice();
    each_tensor(argument, [&](const at::Tensor& tensor) {
      if (!tensor.defined()) return;
      if (tensor.device().type() == kCard && !found) device = tensor.device(), found = true;
      host |= tensor.device().type() == at::kCPU && tensor.dim() > 0;
    });
  }
  const auto& name = op.schema().name();
  const bool indexing = name.find("index") != std::string::npos;
  TORCH_CHECK(
      !(found && host) || indexing, "Expected all tensors to be on the same device, but found at least two devices, ",
      device, " and cpu, in ", name);
  return device;
}

// These return a value or a shape that Python needs, so the host waits for a real device
bool waits_for_device(const std::string& name) {
  for (const auto* one : {"aten::nonzero", "aten::equal", "aten::masked_select", "aten::_unique2", "aten::bincount"})
    if (name == one) return true;
  return false;
}

void on_host(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto count = op.schema().arguments().size();
  const auto arguments = torch::jit::last(stack, count);
  HostCall call(device_of(op, arguments));
  ++operators_run;
  if (waits_for_device(op.schema().name())) ++copies_to_host;
  const auto first = stack->size() - count;
  for (size_t i = first; i < stack->size(); ++i)
    (*stack)[i] = with_tensors((*stack)[i], [&](const at::Tensor& tensor) { return call.in(tensor); });
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  call.settle();
  for (size_t i = first; i < stack->size(); ++i)
    (*stack)[i] = with_tensors((*stack)[i], [&](const at::Tensor& tensor) { return call.out(tensor); });
}

// ---- Copies between host and device, counted ----

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  const bool card_from = from.device().type() == kCard, card_to = to.device().type() == kCard;
  if (card_from && !card_to) ++copies_to_host;
  if (card_to && !card_from) ++copies_to_device;
  HostCall source(from.device()), target(to.device());
  target.in(to).copy_(source.in(from));
  return to;
}

at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}

at::Scalar local_scalar_dense(const at::Tensor& tensor) {
  ++copies_to_host;
  return HostCall(tensor.device()).in(tensor).item();
}

// ---- What the CPU has under another name ----

// Half precision products are summed in float32, as matrix units do
at::ScalarType compute_type(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kHalf || tensor.scalar_type() == at::kBFloat16 ? at::kFloat
                                                                                    : tensor.scalar_type();
}

at::Tensor convolution(
    const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
    at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed, at::IntArrayRef output_padding,
    int64_t groups) {
  HostCall call(input.device());
  const auto type = compute_type(input);
  std::optional<at::Tensor> host_bias;
  if (bias && bias->defined()) host_bias = call.in(*bias).to(type);
  const auto result = at::convolution(
      call.in(input).to(type), call.in(weight).to(type), host_bias, stride, padding, dilation, transposed,
      output_padding, groups);
  return call.out(result.to(input.scalar_type()));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& grad, const at::Tensor& input, const at::Tensor& weight, at::IntArrayRef stride,
    at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed, at::IntArrayRef output_padding, int64_t groups,
    std::array<bool, 3> wanted) {
  HostCall call(input.device());
  const auto type = compute_type(input);
  const std::vector<int64_t> bias{grad.size(1)};
  const auto [to_input, to_weight, to_bias] = at::convolution_backward(
      call.in(grad).to(type), call.in(input).to(type), call.in(weight).to(type), bias, stride, padding, dilation,
      transposed, output_padding, groups, wanted);
  const auto back = [&](const at::Tensor& host) {
    return host.defined() ? call.out(host.to(input.scalar_type())) : at::Tensor();
  };
  return {back(to_input), back(to_weight), back(to_bias)};
}

// One step of a GRU. Gates [B, 3H] in the order reset, update, new; the workspace [B, 5H] is for the way back.
std::tuple<at::Tensor, at::Tensor> gru_cell(
    const at::Tensor& input_gates, const at::Tensor& hidden_gates, const at::Tensor& hidden,
    const std::optional<at::Tensor>& input_bias, const std::optional<at::Tensor>& hidden_bias) {
  HostCall call(hidden.device());
  auto from_input = call.in(input_gates), from_hidden = call.in(hidden_gates);
  if (input_bias && input_bias->defined()) from_input = from_input + call.in(*input_bias);
  if (hidden_bias && hidden_bias->defined()) from_hidden = from_hidden + call.in(*hidden_bias);
  const auto x = from_input.chunk(3, 1), h = from_hidden.chunk(3, 1);
  const auto before = call.in(hidden);
  const auto reset = (x[0] + h[0]).sigmoid(), update = (x[1] + h[1]).sigmoid();
  const auto fresh = (x[2] + reset * h[2]).tanh();
  return {
      call.out((before - fresh) * update + fresh), call.out(at::cat({reset, update, fresh, before, h[2]}, 1))};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> gru_cell_backward(
    const at::Tensor& grad, const at::Tensor& workspace, bool has_bias) {
  HostCall call(grad.device());
  const auto saved = call.in(workspace).chunk(5, 1);
  const auto &reset = saved[0], &update = saved[1], &fresh = saved[2], &before = saved[3], &from_hidden = saved[4];
  const auto g = call.in(grad);
  const auto to_update = g * (before - fresh) * (1 - update) * update;
  const auto to_fresh = g * (1 - update) * (1 - fresh * fresh);
  const auto to_reset = to_fresh * from_hidden * (1 - reset) * reset;
  const auto to_input_gates = at::cat({to_reset, to_update, to_fresh}, 1);
  const auto to_hidden_gates = at::cat({to_reset, to_update, to_fresh * reset}, 1);
  const auto sum = [&](const at::Tensor& gates) { return has_bias ? call.out(gates.sum(0)) : at::Tensor(); };
  return {
      call.out(to_input_gates), call.out(to_hidden_gates), call.out(g * update), sum(to_input_gates),
      sum(to_hidden_gates)};
}

// The same memory as a host tensor, only for the simulated process group
at::Tensor host_view(const at::Tensor& tensor) { return HostCall(tensor.device()).in(tensor); }

} // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_host>()); }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("_copy_from", &copy_from);
  m.impl("_copy_from_and_resize", &copy_from_and_resize);
  m.impl("_local_scalar_dense", &local_scalar_dense);
  m.impl("convolution_overrideable", &convolution);
  m.impl("convolution_backward_overrideable", &convolution_backward);
  m.impl("_thnn_fused_gru_cell", &gru_cell);
  m.impl("_thnn_fused_gru_cell_backward", &gru_cell_backward);
}

// Autocast, with the lists of operators that torch has for all devices
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) { m.fallback(torch::CppFunction::makeFallthrough()); }

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
#define LOWER_PRECISION(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define SINGLE_PRECISION(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
#define WIDEST(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)
  AT_FORALL_LOWER_PRECISION_FP(LOWER_PRECISION)
  AT_FORALL_FP32(SINGLE_PRECISION)
  AT_FORALL_PROMOTE(WIDEST)
}

TORCH_LIBRARY(simulated_sdaa, m) {
  m.def("counts() -> int[]", []() -> std::vector<int64_t> {
    return {copies_to_host, copies_to_device, operators_run};
  });
  m.def("set_device(int index) -> ()", [](int64_t index) {
    CardGuard().setDevice({kCard, static_cast<c10::DeviceIndex>(index)});
  });
  m.def("current_device() -> int", []() -> int64_t { return current_device; });
  m.def("host_view(Tensor tensor) -> Tensor", &host_view);
}
