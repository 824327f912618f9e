"""The metadata is in pyproject.toml; this names what that cannot: the compiled media core."""

from setuptools import setup

setup(
    cffi_modules=["native/build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
