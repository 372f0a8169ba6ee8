#include "ended.h"

#include "errors.h"
#include "state_reader.h"
#include "values.h"

namespace cairn::python {

namespace py = pybind11;

namespace {

template <class T>
py::list list_of(const std::vector<T>& values) {
    py::list list;
    for (const T& value : values) list.append(tuple_of(value));
    return list;
}

struct ToPython {
    py::object operator()(const Status& status) const {
        if (!status) raise(status.error());
        return py::none();
    }
    template <class T>
    py::object operator()(const Result<T>& result) const {
        if (!result) raise(result.error());
        return of(*result);
    }

    template <class T>
    static py::object of(const T& value) {
        return tuple_of(value);
    }
    static py::object of(const LoadedState& loaded) {
        return parts_of(loaded.state) + py::make_tuple(tuple_of(loaded.info));
    }
    static py::object of(const StoreStats& stats) { return dict_of(stats); }
    static py::object of(const RetentionReport& report) { return dict_of(report); }
    template <class T>
    static py::object of(const std::vector<T>& values) {
        return list_of(values);
    }
    template <class T>
    static py::object of(const Page<T>& page) {
        return py::make_tuple(list_of(page.items), page.next_cursor);
    }
};

}  // namespace

py::object to_python(const Ended& ended) {
    return std::visit(ToPython(), ended);
}

}  // namespace cairn::python
