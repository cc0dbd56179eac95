# The optimized model in C++: the program of docs/use.md, with this model's names.
sed -i 's/"input"/"image"/; s/224/16/g; s/"output"/"scores"/; s/1000/5/' app.cpp
g++ -std=c++17 app.cpp -I "$ORT_INCLUDE" "$ORT_LIBRARY" -Wl,-rpath,"$(dirname "$ORT_LIBRARY")" -o app
./app
