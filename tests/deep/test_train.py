import pytest

from course.deep import train


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--epochs", "0"], "at least 1 epoch, got 0"),
        (["--rows", "0"], r"between 1 \(ranks\) and 60000 rows, got 0"),
        (["--rows", "60001"], "got 60001"),
        (["--batch-size", "0"], "batch size that 1 ranks can share, got 0"),
        (["--output", "model.h5"], r"NAME\.keras, got model\.h5"),
        (["--output", "nowhere/model.keras"], "a folder at .*nowhere, found none"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_loaded(words, says):
    with pytest.raises(SystemExit, match=says):
        train.main(["ann", *words])


def test_one_rank_trains_and_saves(tmp_path, capsys):
    import keras

    path = tmp_path / "perceptron.keras"
    options = ["--epochs", "1", "--rows", "1024", "--batch-size", "8", "--output", str(path)]
    train.main(["perceptron", *options])
    printed = capsys.readouterr().out
    accuracy = float(printed.split("accuracy ")[-1])
    assert "perceptron on 1 ranks" in printed and 0.4 < accuracy < 1
    assert keras.saving.load_model(path, compile=False).count_params() == 7850
